from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.errors import OPTION_INVALID, PorticoError
from portico.sdk.options import ForwardOptions, check_options

NGROK_PYTHON = [
    "authtoken",
    "authtoken_from_env",
    "session_metadata",
    "session_ca_cert",
    "root_cas",
    "server_addr",
    "force_new_session",
    "metadata",
    "allow_cidr",
    "deny_cidr",
    "proxy_proto",
    "forwards_to",
    "verify_upstream_tls",
    "traffic_policy",
    "policy",
    "schemes",
    "hostname",
    "domain",
    "app_protocol",
    "mutual_tls_cas",
    "compression",
    "websocket_tcp_converter",
    "request_header_add",
    "response_header_add",
    "request_header_remove",
    "response_header_remove",
    "basic_auth",
    "allow_user_agent",
    "deny_user_agent",
    "circuit_breaker",
    "oauth_provider",
    "oauth_allow_emails",
    "oauth_allow_domains",
    "oauth_scopes",
    "oauth_client_id",
    "oauth_client_secret",
    "oidc_issuer_url",
    "oidc_client_id",
    "oidc_client_secret",
    "oidc_allow_emails",
    "oidc_allow_domains",
    "oidc_scopes",
    "verify_webhook_provider",
    "verify_webhook_secret",
    "remote_addr",
    "crt",
    "key",
    "labels",
]
"""All that ngrok.forward of ngrok-python 1.4.0 reads."""


def test_every_option_of_ngroks_sdk_is_known() -> None:
    assert set(NGROK_PYTHON) <= set(get_type_hints(ForwardOptions))


@pytest.mark.parametrize(
    ("options", "proto", "words"),
    [
        ({"basicauth": "u:p"}, "http", "Did you mean 'basic_auth'"),
        ({"zzz": 1}, "http", "no option 'zzz'"),
        ({"domain": 5}, "http", "option domain: text is expected, not int"),
        ({"compression": "yes"}, "http", "True or False"),
        ({"circuit_breaker": True}, "http", "a number"),
        ({"allow_cidr": [1]}, "http", "text or a list"),
        ({"app_protocol": "http3"}, "http", "one of 'http1', 'http2'"),
        ({"proxy_proto": "3"}, "tcp", "proxy_proto"),
        ({"proxy_proto": True}, "tcp", "proxy_proto"),
        ({"crt": 1}, "tls", "bytes"),
        ({"domain": "a"}, "tcp", "for http and tls endpoints, not for tcp"),
        ({"remote_addr": "a:1"}, "http", "for tcp endpoints"),
        ({"labels": "a:b"}, "http", "for labeled endpoints"),
        ({}, "ftp", "proto"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], proto: str, words: str) -> None:
    with pytest.raises(PorticoError) as caught:
        check_options(options, proto)
    assert caught.value.code is OPTION_INVALID
    assert words in str(caught.value)


def test_none_is_absent_and_dots_are_underscores() -> None:
    assert check_options({"domain": None, "oauth.provider": "google"}, "http") == {"oauth_provider": "google"}


def test_lists_may_be_one_text_or_a_tuple() -> None:
    options = {"allow_cidr": "10.0.0.0/8", "deny_cidr": ("1.2.3.4/32",), "circuit_breaker": 1}
    assert check_options(options, "http") == options


@given(st.dictionaries(st.text(max_size=12), st.none() | st.booleans() | st.integers() | st.text(), max_size=4))
def test_any_options_pass_or_are_named(options: dict[str, Any]) -> None:
    try:
        check_options(options, "http")
    except PorticoError as error:
        assert error.code is OPTION_INVALID


@pytest.mark.parametrize("name", sorted(get_type_hints(ForwardOptions)))
def test_every_option_refuses_an_object(name: str) -> None:
    with pytest.raises(PorticoError, match=name):
        check_options({name: object()}, "http")
