import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.acl import Acl
from portico.model.endpoint import EndpointUrl
from portico.model.errors import ACL_INVALID, PorticoError


@pytest.mark.parametrize(
    ("rule", "url", "permitted"),
    [
        ("*", "https://any.example.com", True),
        ("bind:*", "tcp://edge.test:20000", True),
        ("bind:app.example.com", "https://app.example.com", True),
        ("bind:APP.example.com.", "http://app.example.com", True),
        ("bind:app.example.com", "tls://app.example.com", True),
        ("bind:app.example.com", "https://app.example.com.evil.com", False),
        ("bind:app.example.com", "https://x.app.example.com", False),
        ("bind:*.example.com", "https://x.example.com", True),
        ("bind:*.example.com", "https://x.y.example.com", True),
        ("bind:*.example.com", "https://*.example.com", True),
        ("bind:*.example.com", "https://example.com", False),
        ("bind:*.example.com", "https://notexample.com", False),
        ("bind:edge.test:20000", "tcp://edge.test:20000", True),
        ("bind:edge.test:20000", "tcp://edge.test:20001", False),
        ("bind:edge.test:443", "https://edge.test", False),
        ("bind:edge.test", "tcp://edge.test:20000", False),
        ("bind:app=web", "https://app.example.com", False),
    ],
)
def test_a_rule_permits_the_urls_that_it_names(rule: str, url: str, permitted: bool) -> None:
    assert Acl.of([rule]).permits(EndpointUrl.parse(url)) is permitted


@pytest.mark.parametrize(
    ("rules", "permitted"),
    [
        ([], True),
        (["*"], True),
        (["bind:app=web"], False),
        (["bind:app=web", "bind:env=*"], True),
        (["bind:*=web", "bind:env=prod"], True),
        (["bind:*=*"], True),
        (["bind:app.example.com"], False),
    ],
)
def test_every_label_has_to_be_permitted(rules: list[str], permitted: bool) -> None:
    assert Acl.of(rules).permits_labels({"app": "web", "env": "prod"}) is permitted


def test_no_rules_permit_everything_and_several_permit_what_any_does() -> None:
    url = EndpointUrl.parse("https://b.example.com")
    assert Acl.of([]).permits(url)
    assert Acl.of(["bind:a.example.com", "bind:b.example.com"]).permits(url)


def test_all_wrong_rules_are_named() -> None:
    with pytest.raises(PorticoError) as caught:
        Acl.of(["bind:ok.example.com", "connect:x", "bind:", "bind:a b", "bind:=x", "bind:host:0", "bind:x:99999"])
    assert caught.value.code is ACL_INVALID
    assert caught.value.message.count("is no ACL rule") == 6


@given(st.text())
def test_any_text_is_a_rule_or_is_refused(text: str) -> None:
    try:
        acl = Acl.of([text])
    except PorticoError as error:
        assert error.code is ACL_INVALID
    else:
        acl.permits(EndpointUrl.parse("https://app.example.com"))
        acl.permits_labels({"a": "b"})
