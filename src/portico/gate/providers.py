"""Who signs people in: providers known by name, and what any OpenID provider says of itself.

Endpoints and answers of the named ones are those of their documentation, named beside each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a provider speaks of. An address that it has not verified is none."""

    id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Where it is asked, and how its answers are read."""

    name: str
    authorization: str
    token: str
    userinfo: str
    scopes: tuple[str, ...]
    """Without which it would not say who somebody is."""
    read: Callable[[Answer], Person]
    issuer: str = ""
    """Of its identity tokens; nothing where it gives none, and userinfo alone says who somebody is."""
    key_set: str = ""
    emails: str = ""
    """Where addresses are asked for, if userinfo has none."""
    algorithms: tuple[str, ...] = ("RS256",)
    """Of its identity tokens."""
    basic: bool = False
    """Whether it wants the application's secret as basic credentials (RFC 6749, 2.3.1), not in the body."""
    pkce: bool = True
    says_issuer: bool = False
    """Whether its redirects back must name it (RFC 9207)."""
    end_session: str = ""
    """Where it ends its own session of a person (OpenID Connect RP-Initiated Logout 1.0); nothing where it does not."""


def openid_person(claims: Answer) -> Person:
    """OpenID Connect Core, 5.1."""
    verified = claims.get("email_verified", True) not in (False, "false")
    name = claims.get("name") or claims.get("preferred_username")
    return Person(_text(claims.get("sub")), _text(claims.get("email")) if verified else "", _text(name))


def _github(user: Answer) -> Person:
    # The address of the profile need not be verified; the list of addresses says which are.
    addresses = [one for one in user.get("emails", ()) if isinstance(one, dict) and one.get("verified")]
    primary = next((one for one in addresses if one.get("primary")), None)
    return Person(
        _text(user.get("id")), _text(primary and primary.get("email")), _text(user.get("name") or user.get("login"))
    )


def _microsoft(user: Answer) -> Person:
    # `mail` is what an administrator of any tenant has typed in; the principal name is below a verified domain.
    return Person(_text(user.get("id")), _text(user.get("userPrincipalName")), _text(user.get("displayName")))


def _facebook(user: Answer) -> Person:
    return Person(_text(user.get("id")), _text(user.get("email")), _text(user.get("name")))


def _amazon(user: Answer) -> Person:
    return Person(_text(user.get("user_id")), _text(user.get("email")), _text(user.get("name")))


def _twitch(answer: Answer) -> Person:
    users = answer.get("data")
    user = users[0] if isinstance(users, list) and users and isinstance(users[0], dict) else {}
    return Person(_text(user.get("id")), _text(user.get("email")), _text(user.get("display_name")))


def _text(value: object) -> str:
    """Numbers are ids at some providers."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


_MICROSOFT: Final = "https://login.microsoftonline.com/common/oauth2/v2.0"
_ALL: Final = (
    # https://developers.google.com/identity/openid-connect/openid-connect
    Provider(
        "google",
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        "https://openidconnect.googleapis.com/v1/userinfo",
        ("openid", "email", "profile"),
        openid_person,
        issuer="https://accounts.google.com",
        key_set="https://www.googleapis.com/oauth2/v3/certs",
    ),
    # https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
    Provider(
        "github",
        "https://github.com/login/oauth/authorize",
        "https://github.com/login/oauth/access_token",
        "https://api.github.com/user",
        ("read:user", "user:email"),
        _github,
        emails="https://api.github.com/user/emails",
    ),
    # https://docs.gitlab.com/integration/openid_connect_provider/
    Provider(
        "gitlab",
        "https://gitlab.com/oauth/authorize",
        "https://gitlab.com/oauth/token",
        "https://gitlab.com/oauth/userinfo",
        ("openid", "email", "profile"),
        openid_person,
        issuer="https://gitlab.com",
        key_set="https://gitlab.com/oauth/discovery/keys",
    ),
    # https://learn.microsoft.com/en-us/graph/api/user-get
    Provider(
        "microsoft",
        f"{_MICROSOFT}/authorize",
        f"{_MICROSOFT}/token",
        "https://graph.microsoft.com/v1.0/me",
        ("User.Read",),
        _microsoft,
    ),
    # https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow
    Provider(
        "facebook",
        "https://www.facebook.com/v23.0/dialog/oauth",
        "https://graph.facebook.com/v23.0/oauth/access_token",
        "https://graph.facebook.com/v23.0/me?fields=id,name,email",
        ("email",),
        _facebook,
    ),
    # https://developer.amazon.com/docs/login-with-amazon/authorization-code-grant.html
    Provider(
        "amazon",
        "https://www.amazon.com/ap/oa",
        "https://api.amazon.com/auth/o2/token",
        "https://api.amazon.com/user/profile",
        ("profile",),
        _amazon,
    ),
    # https://learn.microsoft.com/en-us/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2
    # Its identity tokens carry no nonce, and its web applications have no PKCE: userinfo says who somebody is.
    Provider(
        "linkedin",
        "https://www.linkedin.com/oauth/v2/authorization",
        "https://www.linkedin.com/oauth/v2/accessToken",
        "https://api.linkedin.com/v2/userinfo",
        ("openid", "profile", "email"),
        openid_person,
        pkce=False,
    ),
    # https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/ and …/api/reference/#get-users
    Provider(
        "twitch",
        "https://id.twitch.tv/oauth2/authorize",
        "https://id.twitch.tv/oauth2/token",
        "https://api.twitch.tv/helix/users",
        ("user:read:email",),
        _twitch,
    ),
)
PROVIDERS: Final[Mapping[str, Provider]] = {provider.name: provider for provider in _ALL}
_VERIFIABLE: Final = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
)
_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def discovered(asked: str, document: Answer) -> Provider:
    """The provider that describes itself (OpenID Connect Discovery 1.0, 3 and 4.3). Raises ValueError.

    `asked`: the issuer of the action, with or without the slash at its end.
    """
    issuer = _text(document.get("issuer"))
    if issuer.rstrip("/") != asked.rstrip("/"):
        raise ValueError("it describes another issuer")
    found = {}
    for name in (*_NEEDED, "userinfo_endpoint"):
        url = _text(document.get(name))
        if not url and name in _NEEDED:
            raise ValueError(f"its description has no {name}")
        if url and issuer.startswith("https://") and not url.startswith("https://"):
            raise ValueError(f"its {name} is not https")
        found[name] = url
    # Nobody needs it to sign in, so one that would show tokens to the network is as good as none.
    end_session = _text(document.get("end_session_endpoint"))
    if issuer.startswith("https://") and not end_session.startswith("https://"):
        end_session = ""
    signed = document.get("id_token_signing_alg_values_supported") or ["RS256"]
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return Provider(
        issuer,
        found["authorization_endpoint"],
        found["token_endpoint"],
        found["userinfo_endpoint"],
        ("openid", "email", "profile"),
        openid_person,
        issuer=issuer,
        key_set=found["jwks_uri"],
        algorithms=tuple(one for one in signed if one in _VERIFIABLE),
        basic="client_secret_basic" in methods,
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        end_session=end_session,
    )
