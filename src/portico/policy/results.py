"""What actions leave behind for later rules: `actions.ngrok.<action>.<field>`.

Names and meanings follow https://ngrok.com/docs/traffic-policy/variables/action/.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

_ERROR: Final = {"error": "`code` and `message` of what went wrong"}
_IDENTITY: Final = {
    "identity": "`id`, `email`, `name`, `provider_user_id` of who has signed in",
    "access_token": "access token of the provider",
    "refresh_token": "refresh token of the provider",
    "expires_at": "when the session ends",
    "session_timed_out": "whether the session has timed out",
    "session_max_duration_reached": "whether the session has lasted as long as it may",
    "userinfo_refreshed": "whether the provider was asked for the user again",
    **_ERROR,
}
_REPLACED: Final = {"matches": "what `from` has matched", "url": "the URL that came of it", **_ERROR}
_RESULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "add_headers": {"headers_added": "the headers that were added"},
    "basic_auth": {"credentials": "`presented`, `username`, `authorized`"},
    "compress": {
        "already_compressed": "whether the upstream had compressed",
        "negotiated_algorithm": "the algorithm that the visitor and the action agreed on",
    },
    "http_request": {
        "attempts": "a list of `resolved_ip`, `response_header`, `response_status_code`, `response_time_ms`",
        "req": "`method`, `header`, `url`, `body`",
        "res": "`resolved_ip`, `header`, `status_code`, `time_ms`, `body`",
        **_ERROR,
    },
    "jwt_validation": {
        "tokens": "a list of `header`, `payload`, `signature`, `location`, `location_property`, `verified`",
        **_ERROR,
    },
    "log": {"metadata": "what was logged"},
    "oauth": _IDENTITY,
    "oidc": {**_IDENTITY, "identity_token": "identity token of the provider"},
    "rate_limit": {"bucket_key": "the key of the bucket", "limited": "whether the limit was reached", **_ERROR},
    "redirect": _REPLACED,
    "remove_headers": {"headers_removed": "the headers that were there and are not"},
    "restrict_ips": {"action": "`allow` or `deny`", "matched_cidr": "the network that decided", **_ERROR},
    "terminate_tls": {
        "cipher_suite": "cipher suite",
        "client": "the visitor's certificate, as `conn.tls.client`",
        "server": "the certificate shown, as `conn.tls.server`",
        "sni": "server name",
        "version": "version of TLS",
        "warnings": "a list of texts",
        "error_code": "code of what went wrong",
        "error_message": "what went wrong",
    },
    "url_rewrite": _REPLACED,
    "verify_webhook": {"verified": "whether the signature was right", **_ERROR},
}


@cache
def result_roots() -> Mapping[str, Mapping[str, str]]:
    """`actions.ngrok.<action>` and its fields with their meanings."""
    return {f"actions.ngrok.{name}": fields for name, fields in _RESULTS.items()}


def result_fields(root: str) -> Mapping[str, str]:
    """The fields of one of them."""
    return result_roots()[root]
