from typing import Any

import pytest

from portico.model.endpoint import ClientVerification, EdgeTls, KeyPair, TlsVersion
from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.policy.actions import TerminateTls
from portico.policy.document import read_policy
from portico.policy.served import served_policy, terminate_tls


def tls_of(policy: str | dict[str, Any]) -> TerminateTls | None:
    return terminate_tls([served_policy(policy)])


def read(phase: str = "on_tcp_connect", **config: Any) -> TerminateTls:
    found = tls_of({phase: [{"actions": [{"type": "terminate-tls", "config": config}]}]})
    assert found is not None
    return found


def test_every_field() -> None:
    found = read(
        min_version="1.2",
        max_version=1.2,
        server_certificate="CERT",
        server_private_key="KEY",
        mutual_tls_certificate_authorities=["ONE", "TWO"],
        mutual_tls_verification_strategy="require-any",
    )
    assert found.edge_tls() == EdgeTls(
        KeyPair("CERT", "KEY"),
        client_authorities="ONE\nTWO",
        verification=ClientVerification.REQUIRE_ANY,
        maximum=TlsVersion.TLS_1_2,
    )


def test_an_empty_configuration_is_the_defaults() -> None:
    assert read("on_tls_request") == TerminateTls()
    assert terminate_tls([]) is None
    assert TerminateTls().edge_tls() == EdgeTls()


def test_neither_keys_nor_authorities_are_shown() -> None:
    found = read(server_certificate="CERT", server_private_key="KEY", mutual_tls_certificate_authorities=["ONE"])
    assert "KEY" not in repr(found)
    policy = {"on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": {"server_private_key": "KEY"}}]}]}
    assert "KEY" not in repr(read_policy(policy).problems)


@pytest.mark.parametrize("strategy", ["require-and-verify", "verify-if-given", "require-any", "request"])
def test_strategies(strategy: str) -> None:
    settings = read(mutual_tls_certificate_authorities=["CA"], mutual_tls_verification_strategy=strategy)
    assert settings.edge_tls().verification == strategy


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"min_version": "1.1"}, "min_version: is one of 1.2, 1.3"),
        ({"min_version": "1.3", "max_version": "1.2"}, "greater than max_version"),
        ({"min_versoin": "1.3"}, "did you mean min_version?"),
        ({"server_certificate": "CERT"}, "need each other"),
        ({"server_private_key": "KEY"}, "need each other"),
        ({"server_certificate": 1, "server_private_key": 2}, "must be text"),
        ({"mutual_tls_certificate_authorities": "CA"}, "must be a list"),
        ({"mutual_tls_certificate_authorities": []}, "at least 1"),
        ({"mutual_tls_verification_strategy": "request"}, "needs mutual_tls_certificate_authorities"),
        ({"mutual_tls_certificate_authorities": ["CA"], "mutual_tls_verification_strategy": "maybe"}, "is one of"),
    ],
)
def test_bad_fields(config: dict[str, Any], words: str) -> None:
    with pytest.raises(PorticoError) as refused:
        read(**config)
    assert refused.value.code is BIND_INVALID
    assert words in refused.value.message
    assert "KEY" not in str(refused.value)


def test_ids_of_authorities_are_not_offered() -> None:
    with pytest.raises(PorticoError) as refused:
        read(mutual_tls_certificate_authorities=["ca_2tMuMSDhvEBY2FI8Ub9LM2MJ4pU"])
    assert refused.value.code is NOT_SERVED


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"on_tcp_connect": [{"actions": [{"type": "terminate-tls"}, {"type": "restrict-ips"}]}]}, BIND_INVALID),
        ({"on_http_request": [{"actions": [{"type": "terminate-tls"}]}]}, BIND_INVALID),
        ({"on_tcp_connect": [{"actions": [{"type": "terminate-tls"}] * 2}]}, BIND_INVALID),
        ({"on_http_request": [{"actions": [{"type": "deny", "config": {"status": 1}}]}]}, BIND_INVALID),
        ({"on_http_request": [{"actions": [{"type": "saml"}]}]}, NOT_SERVED),
        ({"on_http_request": [{"actions": [{"type": "denny"}]}]}, BIND_INVALID),
        (
            {"on_tcp_connect": [{"expressions": ["conn.client_ipp == ''"], "actions": [{"type": "terminate-tls"}]}]},
            BIND_INVALID,
        ),
        (
            {
                "on_tcp_connect": [
                    {
                        "actions": [
                            {
                                "type": "terminate-tls",
                                "config": {"server_certificate": "${vars.a}", "server_private_key": "b"},
                            }
                        ]
                    }
                ]
            },
            NOT_SERVED,
        ),
        ({"on_tcp_connect": [{"expressions": ["true"], "actions": [{"type": "terminate-tls"}]}]}, NOT_SERVED),
    ],
)
def test_what_an_endpoint_cannot_have(policy: dict[str, Any], code: object) -> None:
    with pytest.raises(PorticoError) as refused:
        tls_of(policy)
    assert refused.value.code is code
