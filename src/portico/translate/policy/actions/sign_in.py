"""`oauth` and `openid-connect`: what the gate is asked with (`gate/questions.py`), and who is told upstreams."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from portico.model.sign_in_tag import sign_in_tag
from portico.policy.actions.sign_in import OAuth, OpenIdConnect, SignIn
from portico.policy.template import Template
from portico.translate.policy.actions.compiled import Compiled, Compiler
from portico.translate.policy.actions.values import text
from portico.translate.policy.lua import Code, LuaValue, literal

IDENTITY: Final[Mapping[str, str]] = {
    "ngrok-auth-user-id": "id",
    "ngrok-auth-user-email": "email",
    "ngrok-auth-user-name": "name",
}
"""Headers that tell the upstream who has signed in; visitors' own are taken away."""
_HEADERS: Final = ("accept", "access-control-request-method", "origin", "sec-fetch-mode", "x-requested-with")
"""What the gate looks at (`gate/browsers.py`)."""


def _oauth(config: OAuth) -> Compiled:
    return _sign_in(config, {"provider": config.provider}, (config.provider, ""))


def _openid(config: OpenIdConnect) -> Compiled:
    return _sign_in(config, {"issuer": text(config.issuer_url)}, ("", config.issuer_url.literal))


def _sign_in(config: SignIn, own: Mapping[str, LuaValue], whose: tuple[str, str | None]) -> Compiled:
    provider, issuer = whose
    application = "" if config.client_id is None else config.client_id.literal
    secrets = [template for template in (config.client_id, config.client_secret) if template is not None]
    asked: dict[str, LuaValue] = {
        **own,
        "client_id": _given(config.client_id),
        "client_secret": _given(config.client_secret),
        "auth_id": config.auth_id or "",
        "longest": _seconds(config.max_session_duration),
        "idle": _seconds(config.idle_session_timeout),
        "refresh": _seconds(config.userinfo_refresh_interval),
        "preflights": config.allow_cors_preflight,
        "cookie_domain": config.auth_cookie_domain or "",
    }
    parameters = ", ".join(f"{{{literal(name)}, {literal(value)}}}" for name, value in config.authz_url_params.items())
    return Compiled(
        {
            "result": config.result_name(),
            "asked": [[name, value] for name, value in asked.items() if value is not None],
            "scopes": Code(f"P.list({literal(config.scopes)})"),
            "parameters": Code(f"P.map({{{parameters}}})"),
            "tag": None
            if issuer is None or application is None
            else sign_in_tag(provider, issuer, application, config.auth_id or ""),
            "fixed": issuer is not None and all(template.literal is not None for template in secrets),
            "headers": _HEADERS,
            "identity_headers": list(IDENTITY),
            "identity_keys": list(IDENTITY.values()),
        },
        waits=True,
    )


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _given(template: Template | None) -> LuaValue:
    return None if template is None else text(template)


COMPILERS: Final[Mapping[str, Compiler]] = {OAuth.TYPE: _oauth, OpenIdConnect.TYPE: _openid}
