"""The routes that the settings file declares for an endpoint: what requests must be, and what becomes of them."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from portico.edge.bind_request import PoolRequest
from portico.edge.route_backends import BackendSettings, HeaderSettings, MirrorSettings, changes, spelled_backend
from portico.edge.route_matches import GrpcSettings, HeaderName, LiteralPath, MatchSettings, Method
from portico.edge.settings_part import Setting, SettingsPart
from portico.edge.settings_values import sound
from portico.model.route import (
    Affinity,
    Answer,
    Cors,
    PathChange,
    Redirect,
    Retries,
    Rewrite,
    Route,
)
from portico.translate.route_check import byte_route_faults, route_faults
from portico.translate.route_values import (
    host_fault,
    origin_fault,
)

MAX_ROUTES: Final = 500
MAX_MATCHES: Final = 64
"""As Gateway API bounds them."""

_Host: TypeAlias = Annotated[str, AfterValidator(sound(host_fault))]


def _listed(value: object) -> object:
    """One object is short for a list of it."""
    return [value] if isinstance(value, dict) else value


class RewriteSettings(SettingsPart):
    """What the upstream sees in place of what the visitor asked for."""

    host: Annotated[_Host | None, Setting("HOST", "the visitor's")] = None
    """Host header."""
    path: Annotated[LiteralPath | None, Setting("PATH", "the visitor's")] = None
    """The whole path; the query stays."""
    path_prefix: Annotated[LiteralPath | None, Setting("PATH", "the visitor's")] = None
    """In place of the prefix that matched."""

    @model_validator(mode="after")
    def _one_path(self) -> Self:
        if self.path is not None and self.path_prefix is not None:
            raise ValueError("give path or path_prefix, one of the two")
        return self

    def change(self) -> PathChange | None:
        """What becomes of the path."""
        if self.path_prefix is not None:
            return PathChange(self.path_prefix, prefix=True)
        return None if self.path is None else PathChange(self.path)


class RedirectSettings(RewriteSettings):
    """Where the visitor is sent; what is not said stays as he wrote it."""

    scheme: Annotated[Literal["http", "https"] | None, Setting("http|https", "the visitor's")] = None
    """Scheme of the new URL."""
    port: Annotated[int | None, Field(ge=1, le=65_535), Setting("PORT", "the visitor's")] = None
    """Its port."""
    status: Annotated[Literal[301, 302, 303, 307, 308], Setting("301|302|303|307|308")] = 302
    """Status of the redirect."""


class AnswerSettings(SettingsPart):
    """A response that the edge gives itself."""

    status: Annotated[int, Field(ge=200, le=599), Setting("STATUS", "required")]
    """Its status."""
    body: Annotated[str, Setting("TEXT", "none")] = ""
    """Its body, 4,096 bytes at most."""
    content_type: Annotated[str, Setting("TYPE")] = Answer(200).content_type
    """What the body is."""


class RetrySettings(SettingsPart):
    """What may be sent again, beyond requests that no upstream has seen."""

    attempts: Annotated[int, Field(ge=1, le=100), Setting("N", "required")]
    """Tries after the first one, at most."""
    codes: Annotated[tuple[Annotated[int, Field(ge=400, le=599)], ...], Setting("list", "none")] = ()
    """Statuses in place of which another answer is asked for."""
    backoff: Annotated[float, Field(ge=0.001, le=3_600), Setting("SECONDS")] = 0.025
    """Wait before the second try, about; further ones wait up to twice as long each."""
    broken: Annotated[bool, Setting("true|false")] = False
    """Whether requests are sent again whose connection broke or whose try took too long; they may run twice."""


class AffinitySettings(SettingsPart):
    """What keeps a visitor with one address."""

    cookie: Annotated[HeaderName, Setting("NAME", "none")] = ""
    """A cookie that the edge gives to visitors."""
    header: Annotated[HeaderName, Setting("NAME", "none")] = ""
    """A header that visitors send, instead of a cookie."""
    lifetime: Annotated[int, Field(ge=0), Setting("SECONDS", "until the browser ends")] = 0
    """Time that visitors keep the cookie."""


class CorsSettings(SettingsPart):
    """Which pages of other origins may use the answers."""

    origins: Annotated[
        tuple[Annotated[str, AfterValidator(sound(origin_fault))], ...],
        Field(min_length=1, max_length=64),
        Setting("list", "required"),
    ]
    """`https://HOST`, `https://*.HOST`, or `*` for all."""
    methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=16), Setting("list", "all")] = Cors(
        ()
    ).methods
    """Methods that their requests may have."""
    headers: Annotated[tuple[HeaderName, ...], Field(max_length=64), Setting("list", "none")] = ()
    """Headers that their requests may have beyond the usual ones; `*` for all."""
    exposed: Annotated[tuple[HeaderName, ...], Field(max_length=64), Setting("list", "none")] = ()
    """Headers of answers that they may read beyond the usual ones; `*` for all."""
    credentials: Annotated[bool, Setting("true|false")] = False
    """Whether their requests may carry cookies and the like."""
    max_age: Annotated[int, Field(ge=0, le=86_400), Setting("SECONDS")] = 5
    """Time that browsers may keep what they were told."""


class RouteSettings(SettingsPart):
    """Some requests of an endpoint, and what becomes of them."""

    name: Annotated[str, Field(max_length=253), Setting("NAME", "its number")] = ""
    """What it is called."""
    match: Annotated[
        tuple[MatchSettings, ...], BeforeValidator(_listed), Field(max_length=MAX_MATCHES), Setting("list", "all")
    ] = ()
    """The requests that it is for: those that fit one of these."""
    backends: Annotated[
        tuple[Annotated[BackendSettings, BeforeValidator(spelled_backend)], ...],
        Field(max_length=16),
        Setting("list", "none"),
    ] = ()
    """Where they go, by weight: URLs of upstreams, or objects with endpoint or upstreams."""
    redirect: Annotated[RedirectSettings | None, Setting("object", "none")] = None
    """Where they are sent instead."""
    answer: Annotated[AnswerSettings | None, Setting("object", "none")] = None
    """What they are answered with instead."""
    rewrite: Annotated[RewriteSettings | None, Setting("object", "none")] = None
    """What upstreams see in place of what was asked for."""
    request_headers: Annotated[HeaderSettings | None, Setting("object", "none")] = None
    """Changes of the request's headers."""
    response_headers: Annotated[HeaderSettings | None, Setting("object", "none")] = None
    """Changes of the response's headers."""
    mirror: Annotated[
        tuple[Annotated[MirrorSettings, BeforeValidator(spelled_backend)], ...],
        Field(max_length=8),
        Setting("list", "none"),
    ] = ()
    """Who gets copies of requests; what they answer is thrown away."""
    timeout: Annotated[float, Field(ge=0.001, le=86_400), Setting("SECONDS", "none")] = 0
    """Time for the whole answer, all tries together."""
    try_timeout: Annotated[float, Field(ge=0.001, le=86_400), Setting("SECONDS", "none")] = 0
    """Time for one try."""
    retries: Annotated[RetrySettings | None, Setting("object", "none")] = None
    """What may be sent again, beyond requests that no upstream has seen."""
    affinity: Annotated[AffinitySettings | None, Setting("object", "none")] = None
    """What keeps a visitor with one address."""
    cors: Annotated[CorsSettings | None, Setting("object", "none")] = None
    """Which pages of other origins may use the answers."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        route = self.declared("")
        if faults := list(route_faults(route, [mirror.pool for mirror in route.mirrors])):
            raise ValueError("; ".join(faults))
        if not (self.backends or self.redirect or self.answer):
            raise ValueError("give backends, redirect or answer")
        return self

    def declared(self, name: str) -> Route:
        """The same as an endpoint has it; `name` where it has none of its own."""
        redirect, rewrite = self.redirect, self.rewrite
        return Route(
            name=self.name or name,
            matches=tuple(match.declared() for match in self.match),
            backends=tuple(backend.declared() for backend in self.backends),
            redirect=Redirect(redirect.scheme, redirect.host, redirect.port, redirect.change(), redirect.status)
            if redirect
            else None,
            answer=Answer(self.answer.status, self.answer.body, self.answer.content_type) if self.answer else None,
            request_headers=changes(self.request_headers),
            response_headers=changes(self.response_headers),
            rewrite=Rewrite(rewrite.host, rewrite.change()) if rewrite else None,
            mirrors=tuple(mirror.declared() for mirror in self.mirror),
            timeout=self.timeout,
            try_timeout=self.try_timeout,
            retries=Retries(**self.retries.model_dump()) if self.retries else None,
            affinity=Affinity(**self.affinity.model_dump()) if self.affinity else None,
            cors=Cors(**self.cors.model_dump()) if self.cors else None,
        )


def declared_routes(
    written: Sequence[RouteSettings], *, http: bool
) -> tuple[tuple[Route, ...], tuple[PoolRequest, ...]]:
    """Routes of an endpoint that speaks HTTP or not, and the pools that they lead to. Raises ValueError."""
    routes = tuple(route.declared(str(number)) for number, route in enumerate(written, 1))
    if not http and (faults := list(byte_route_faults(routes))):
        raise ValueError("; ".join(faults))
    led = [place.request(http=http) for route in written for place in (*route.backends, *route.mirror)]
    return routes, tuple({pool.name: pool for pool in led}.values())


ROUTE_PARTS: Final[dict[str, type[BaseModel]]] = {
    "routes": RouteSettings,
    "match": MatchSettings,
    "grpc": GrpcSettings,
    "backends": BackendSettings,
    "mirror": MirrorSettings,
    "redirect": RedirectSettings,
    "answer": AnswerSettings,
    "rewrite": RewriteSettings,
    "retries": RetrySettings,
    "affinity": AffinitySettings,
    "cors": CorsSettings,
    "request_headers": HeaderSettings,
    "response_headers": HeaderSettings,
}
"""The objects that routes are made of, by their keys."""
