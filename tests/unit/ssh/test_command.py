"""The remote command: what each flag means, and that everything else is refused with a reason."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.errors import NOT_OVER_SSH, OPTION_INVALID, PorticoError
from portico.ssh.command import _KNOWN, MAX_COMMAND, PROTOCOLS, Command, parse


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("", Command()),
        ("  ", Command()),
        ("http", Command(protocol="http")),
        ("http --domain app.example.com", Command(protocol="http", host="app.example.com")),
        ("tls --hostname=app.example.com", Command(protocol="tls", host="app.example.com")),
        ("tls --terminate-at upstream", Command(protocol="tls")),
        ("tcp --remote-addr :2222 --proxy-proto=2", Command(protocol="tcp", host=":2222", proxy_protocol=2)),
        ("http --pooling-enabled --scheme http", Command(protocol="http", pooling=True, scheme="http")),
        ("http --pooling-enabled=false --inspect=false", Command(protocol="http")),
        ("http --app-protocol http2 --binding public", Command(protocol="http", upstream_http=2)),
        ("http --host-header a.test --metadata 'a b'", Command(protocol="http", host_header="a.test", metadata="a b")),
        ("http --help", Command(help=True)),
        ("help", Command(help=True)),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ftp", "'ftp' is no protocol"),
        ("http 80", "'80' is no flag"),
        ("http --domian a", "there is no flag '--domian'"),
        ("http --domain", "--domain needs a value"),
        ("http --remote-addr a:1", "--remote-addr is no flag of http"),
        ("tcp --proxy-proto 3", "--proxy-proto '3': it takes 1 or 2"),
        ("tls --terminate-at moon", "--terminate-at 'moon': only upstream is possible"),
        ("http --binding internal", "--binding 'internal': it takes public"),
        ("http 'a", "the command cannot be read"),
        ("http --name a\x1b[2J", "unprintable"),
        ("http " + "x" * MAX_COMMAND, "longer than"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(PorticoError) as caught:
        parse(text)
    assert caught.value.code is OPTION_INVALID
    assert complaint in caught.value.message


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(PorticoError) as caught:
        parse("http --domian a")
    assert "Did you mean --domain?" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        *(
            "tls --terminate-at edge",
            "tls --terminate-at=agent",
            "tls --crt a",
            "tls --key a",
            "tls --mutual-tls-cas a",
        ),
        *(
            "http --traffic-policy-file a",
            "tcp --policy-file a",
            "http --traffic-policy-url https://a",
        ),
        *("http --host-header rewrite", "http --upstream-tls-verify"),
    ],
)
def test_what_ssh_cannot_keep_is_refused(text: str) -> None:
    with pytest.raises(PorticoError) as caught:
        parse(text)
    assert caught.value.code is NOT_OVER_SSH
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("http", {}),
        ("http --compression", {"Compression": {}}),
        ("http --compression=false", {}),
        ("http --websocket-tcp-converter", {"WebsocketTCPConverter": {}}),
        (
            "http --basic-auth a:b:c --auth d:e",
            {
                "BasicAuth": {
                    "credentials": [
                        {"username": "a", "cleartext_password": "b:c"},
                        {"username": "d", "cleartext_password": "e"},
                    ]
                }
            },
        ),
        (
            "tcp --cidr-allow 10.0.0.0/8,::1/128 --cidr-allow 192.0.2.1/32 --cidr-deny=10.1.0.0/16",
            {
                "IPRestriction": {
                    "allow_cidrs": ["10.0.0.0/8", "::1/128", "192.0.2.1/32"],
                    "deny_cidrs": ["10.1.0.0/16"],
                }
            },
        ),
        (
            "http --oauth google --oauth-allow-domain a.example,b.example --oauth-client-id i",
            {"OAuth": {"provider": "google", "allow_domains": ["a.example", "b.example"], "client_id": "i"}},
        ),
        ("http --circuit-breaker 0.5", {"CircuitBreaker": {"error_threshold": 0.5}}),
        ("http --request-header-add x:a,b", {"RequestHeaders": {"add": ["x:a,b"]}}),
        ("tls --traffic-policy '{\"on_tcp_connect\": []}'", {"TrafficPolicy": '{"on_tcp_connect": []}'}),
    ],
)
def test_what_is_asked_of_visitors(text: str, options: dict[str, object]) -> None:
    assert parse(text).options == options
    assert "cleartext_password" not in repr(parse(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http --basic-auth hunter2", "--basic-auth takes user:password"),
        ("http --circuit-breaker 1.5", "--circuit-breaker takes a share"),
        ("http --circuit-breaker hunter2", "--circuit-breaker takes a share"),
        ("http --oauth-client-id hunter2", "--oauth is missing"),
        ("http --verify-webhook-secret hunter2", "--verify-webhook is missing"),
        ("http --oidc-scope hunter2", "--oidc is missing"),
        ("tls --basic-auth a:hunter2", "--basic-auth is no flag of tls"),
        ("tcp --compression", "--compression is no flag of tcp"),
        ("tcp --websocket-tcp-converter", "--websocket-tcp-converter is no flag of tcp"),
        ("http --traffic-policy", "--traffic-policy needs a value"),
    ],
)
def test_what_visitors_cannot_be_asked(text: str, told: str) -> None:
    with pytest.raises(PorticoError, match=told) as caught:
        parse(text)
    assert caught.value.code is OPTION_INVALID
    assert "hunter2" not in caught.value.message


WORDS = st.one_of(
    st.sampled_from([*_KNOWN, *PROTOCOLS, "upstream", "edge", "true", "1", "http2", "=", "--", "-h", "'", '"', "\\"]),
    st.text(max_size=12),
)


@given(st.lists(WORDS, max_size=8).map(" ".join))
def test_anything_at_all_is_a_command_or_is_refused(text: str) -> None:
    try:
        command = parse(text)
    except PorticoError as error:
        assert error.code in (OPTION_INVALID, NOT_OVER_SSH)
        assert error.message.isprintable()
    else:
        assert command.help or command.protocol in ("", *PROTOCOLS)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40).filter(str.isprintable))
def test_a_value_arrives_as_it_was_quoted(value: str) -> None:
    if value == "help" or value in ("-h", "--help"):
        return
    assert parse(f"http --metadata={shlex.quote(value)}").metadata == value
    assert parse(f"http --description {shlex.quote(value)}").description == value
