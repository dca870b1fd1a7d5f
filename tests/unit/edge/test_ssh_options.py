"""What one `-R` asks for: names and ports by ngrok's conventions, and what contradicts itself."""

import msgspec
import pytest

from portico.edge.naming import Naming
from portico.edge.ssh_options import ssh_request
from portico.model.endpoint import Networks, Scheme
from portico.model.errors import BIND_INVALID, NOT_OVER_SSH, NOT_SERVED, ErrorCode, PorticoError
from portico.relay.link import SshForward
from portico.ssh.command import Command, parse

NAMING = Naming("edge.test", 8443, 8080, range(20_000, 20_010))


def forward(host: str, port: int, command: str) -> SshForward:
    return SshForward(id=1, session="s", address="a", host=host, port=port, body=msgspec.to_builtins(parse(command)))


@pytest.mark.parametrize(
    ("host", "port", "command", "scheme", "wanted"),
    [
        ("localhost", 0, "http", Scheme.HTTPS, (None, None)),
        ("", 443, "http", Scheme.HTTPS, (None, None)),
        ("", 8443, "http", Scheme.HTTPS, (None, None)),
        ("", 80, "http", Scheme.HTTP, (None, None)),
        ("", 8080, "http", Scheme.HTTP, (None, None)),
        ("", 0, "http --scheme http", Scheme.HTTP, (None, None)),
        ("", 80, "http --url https://a.test", Scheme.HTTPS, ("a.test", None)),
        ("a.test", 443, "tls", Scheme.TLS, ("a.test", None)),
        ("*", 0, "tls --domain a.test", Scheme.TLS, ("a.test", None)),
        ("a.test", 0, "http --url A.test", Scheme.HTTPS, ("a.test", None)),
        ("", 0, "tcp", Scheme.TCP, (None, None)),
        ("1.tcp.test", 20_001, "tcp", Scheme.TCP, ("1.tcp.test", 20_001)),
        ("", 0, "tcp --remote-addr 1.tcp.test:20001", Scheme.TCP, ("1.tcp.test", 20_001)),
        ("", 0, "tcp --url tcp://:20001", Scheme.TCP, (None, 20_001)),
        ("", 443, "", Scheme.HTTPS, (None, None)),
        ("", 80, "", Scheme.HTTP, (None, None)),
        ("", 20_001, "", Scheme.TCP, (None, 20_001)),
    ],
)
def test_places(host: str, port: int, command: str, scheme: Scheme, wanted: tuple[str | None, int | None]) -> None:
    request = ssh_request(forward(host, port, command), NAMING)
    assert (request.scheme, (request.host, request.port)) == (scheme, wanted)


@pytest.mark.parametrize(
    ("host", "port", "command", "complaint"),
    [
        ("", 8081, "http", "ports 443 and 80, not 8081"),
        ("", 80, "tls", "port 443, not 80"),
        ("a.test", 443, "http --domain b.test", "two names for one endpoint: a.test and b.test"),
        ("", 20_001, "tcp --remote-addr :20002", "two ports for one endpoint: 20001 and 20002"),
        ("", 0, "tcp --remote-addr a:b", "'a:b' has no valid port"),
        ("", 0, "http --url tls://a.test", "'tls://a.test' is no http URL"),
    ],
)
def test_contradictions(host: str, port: int, command: str, complaint: str) -> None:
    with pytest.raises(PorticoError) as caught:
        ssh_request(forward(host, port, command), NAMING)
    assert caught.value.code is BIND_INVALID
    assert complaint in caught.value.message


def test_what_else_the_command_says() -> None:
    words = "http --name n --metadata m --description d --host-header h --pooling-enabled --app-protocol http2"
    request = ssh_request(forward("", 0, words), NAMING)
    assert (request.name, request.metadata, request.description) == ("n", "m", "d")
    assert (request.host_header, request.pooling, request.upstream_http) == ("h", True, 2)
    assert request.forwards_to == "ssh -R :0"


def test_a_body_that_is_no_command() -> None:
    message = msgspec.structs.replace(forward("", 0, "http"), body={"upstream_http": "two"})
    with pytest.raises(PorticoError, match="upstream_http"):
        ssh_request(message, NAMING)
    assert Command(protocol="http") == parse("http")


def test_what_is_asked_of_visitors() -> None:
    asked = ssh_request(forward("", 0, "http --basic-auth ada:lovelace1815 --cidr-deny 192.0.2.0/24"), NAMING)
    assert '"credentials":["ada:lovelace1815"]' in asked.traffic_policy
    assert asked.networks == Networks(denied=("192.0.2.0/24",))
    policy = '{"on_tcp_connect": [{"actions": [{"type": "restrict-ips", "config": {"allow": ["10.0.0.0/8"]}}]}]}'
    for command in (
        "tcp --cidr-allow 10.0.0.0/8",
        f"tcp --traffic-policy '{policy}'",
        f"tls --traffic-policy '{policy}'",
    ):
        asked = ssh_request(forward("", 0, command), NAMING)
        assert (asked.networks, asked.traffic_policy) == (Networks(("10.0.0.0/8",)), "")


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("http --basic-auth ada:hunter2", BIND_INVALID, "credentials"),
        ("http --ua-filter-deny (", BIND_INVALID, "RE2"),
        ("http --verify-webhook githup --verify-webhook-secret x", BIND_INVALID, "did you mean github"),
        ("tcp --cidr-allow here", BIND_INVALID, "IP restrictions"),
        ("http --traffic-policy '{'", BIND_INVALID, "neither JSON nor YAML"),
        ("http --oauth google", BIND_INVALID, "client_id"),
        (
            """tcp --traffic-policy '{"on_http_request": [{"actions": [{"type": "deny"}]}]}'""",
            NOT_SERVED,
            "no requests of HTTP",
        ),
        (
            """tls --traffic-policy '{"on_tcp_connect": [{"actions": [{"type": "terminate-tls"}]}]}'""",
            NOT_OVER_SSH,
            "termination at the edge",
        ),
    ],
)
def test_what_visitors_cannot_be_asked(command: str, code: ErrorCode, told: str) -> None:
    words = command.replace("(", "'('") if command.endswith("(") else command
    with pytest.raises(PorticoError, match=told) as caught:
        ssh_request(forward("", 0, words), NAMING)
    assert caught.value.code is code
    assert "hunter2" not in caught.value.message


def test_the_websocket_converter_is_for_bytes() -> None:
    assert ssh_request(forward("", 443, "http --websocket-tcp-converter"), NAMING).websocket_bytes
    with pytest.raises(PorticoError, match="no HTTP/2"):
        ssh_request(forward("", 443, "http --websocket-tcp-converter --upstream-protocol http2"), NAMING)
