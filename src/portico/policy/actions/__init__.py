"""Pure: the actions of the language, one file each or a small family. `ACTIONS` is all of them, by type.

A new action is a class here, a line below, its results in `policy/results.py`, and a golden file in
`tests/golden/policy`.
"""

from typing import Final

from portico.policy.actions.action import ActionConfig
from portico.policy.actions.basic_auth import BasicAuth
from portico.policy.actions.bodies import RequestBodyFindReplace, ResponseBodyFindReplace
from portico.policy.actions.circuit_breaker import CircuitBreaker
from portico.policy.actions.compress_response import CompressResponse
from portico.policy.actions.endings import CloseConnection, CustomResponse, Deny
from portico.policy.actions.forward_internal import ForwardInternal
from portico.policy.actions.headers import AddHeaders, RemoveHeaders
from portico.policy.actions.http_request import HttpRequest
from portico.policy.actions.jwt_validation import JwtValidation
from portico.policy.actions.log import Log
from portico.policy.actions.rate_limit import RateLimit
from portico.policy.actions.restrict_ips import RestrictIps
from portico.policy.actions.set_vars import SetVars
from portico.policy.actions.sign_in import OAuth, OpenIdConnect
from portico.policy.actions.terminate_tls import TerminateTls
from portico.policy.actions.urls import Redirect, UrlRewrite
from portico.policy.actions.verify_webhook import VerifyWebhook

_ALL: Final[tuple[type[ActionConfig], ...]] = (
    AddHeaders,
    BasicAuth,
    CircuitBreaker,
    CloseConnection,
    CompressResponse,
    CustomResponse,
    Deny,
    ForwardInternal,
    HttpRequest,
    JwtValidation,
    Log,
    OAuth,
    OpenIdConnect,
    RateLimit,
    Redirect,
    RemoveHeaders,
    RequestBodyFindReplace,
    ResponseBodyFindReplace,
    RestrictIps,
    SetVars,
    TerminateTls,
    UrlRewrite,
    VerifyWebhook,
)
ACTIONS: Final = {action.TYPE: action for action in _ALL}
NOT_OFFERED: Final = ("ai-gateway", "owasp-crs-request", "owasp-crs-response", "saml", "sse-find-replace")
"""Actions of ngrok's that this language has not."""

__all__ = [
    "ACTIONS",
    "NOT_OFFERED",
    "ActionConfig",
    "CustomResponse",
    "ForwardInternal",
    "RestrictIps",
    "SetVars",
    "TerminateTls",
]
