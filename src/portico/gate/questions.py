"""What the policies' runtime asks, as JSON. It is written by `translate/policy/runtime/gate.lua`.

Empty lists and tables are left out there: JSON made by Lua cannot tell one from the other.
"""

from typing import Annotated, Literal

import msgspec


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question. Its text shows nothing: there are secrets in it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Visit(Question, frozen=True, kw_only=True):
    """The request of a visitor, as far as a sign-in must know it."""

    method: str
    scheme: Literal["http", "https"]
    host: str
    """With its port, as the visitor wrote it."""
    path: str
    """With its query."""
    cookies: str = ""
    headers: dict[str, str] = {}
    """Those of `browsers.HEADERS` that it has; names in lower case."""


class SignInAction(Question, frozen=True, kw_only=True):
    """The configuration of one `oauth` or `openid-connect` action; durations in seconds."""

    provider: str = ""
    """A name of `providers.PROVIDERS`, or nothing where there is an issuer."""
    issuer: str = ""
    client_id: str
    client_secret: str
    scopes: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    """Added to the URL of the provider's page."""
    auth_id: str = ""
    longest: float | None = None
    idle: float | None = None
    refresh: float | None = None
    preflights: bool = False
    """Whether CORS preflights pass."""
    cookie_domain: str = ""


class SignIn(Question, frozen=True, kw_only=True):
    """May this visitor pass?"""

    visit: Visit
    action: SignInAction


class SignInPath(Question, frozen=True, kw_only=True):
    """Is this a path of the sign-in itself, of one of the actions of a policy?"""

    visit: Visit
    actions: tuple[SignInAction, ...]


class Token(Question, frozen=True, kw_only=True):
    """A token, and what its author takes it for."""

    text: str
    type: Literal["id_token", "access_token", "at+jwt", "it+jwt", "plain", "jwt"]


class Verification(Question, frozen=True, kw_only=True):
    """Are these tokens good?"""

    tokens: tuple[Token, ...]
    issuers: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    algorithms: tuple[str, ...]
    key_sets: tuple[str, ...]
    """URLs."""
    by_kid: bool = False
    """Whether a token must name its key."""
    accept: str = ""
    """The visitor's Accept field, for the page of a refusal."""


class Errand(Question, frozen=True, kw_only=True):
    """A request to send."""

    url: str
    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] = "GET"
    parameters: tuple[tuple[str, str], ...] = ()
    """Appended to the query."""
    headers: dict[str, str] = {}
    body: str = ""
    redirects: int = 0
    seconds: float = 3.0
    """For all attempts together."""
    retry: str = "false"
    """An expression of `attempts` and `last_attempt`."""
    visitor: str = ""
    """Address of the visitor, for X-Forwarded-For."""
    inner: str = ""
    """The class of requests to internal endpoints of the policy's owner (`translate/names.py`)."""
    hops: str = ""
    """What the visitor's request said in `errands.HOPS`."""


class Limit(Question, frozen=True, kw_only=True):
    """May more requests with this key come through?"""

    limit: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    """Names the limit: an action of one policy of one endpoint."""
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the key, which nobody else is to know."""
    capacity: Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)]
    """Requests in one window."""
    seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    """Length of a window."""
    wanted: Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)] = 1
    """Requests for which the asker would like not to ask again."""
