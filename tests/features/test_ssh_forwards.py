"""`ssh -R` of the stock OpenSSH client: every kind of endpoint, names, ports, what the person sees."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kit.curl import curl
from kit.edge import RunningEdge
from kit.key_pairs import KeyPairs
from kit.polling import eventually
from kit.ports import free_port
from kit.rows import row
from kit.service import http_service
from kit.ssh import SshUser
from kit.visit import visit


@pytest.fixture(scope="module")
def user(edge: RunningEdge, tmp_path_factory: pytest.TempPathFactory) -> SshUser:
    known = SshUser(edge, tmp_path_factory.mktemp("ssh"))
    known.register()
    return known


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@contextmanager
def tls_service(pair: tuple[Path, Path]) -> Iterator[int]:
    """Ends TLS itself, and answers each connection with one HTTP answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65_536)
                    secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nits own")
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@row(
    "1.3",
    by_hand="""
    ssh -p 2222 -R app.example.com:443:localhost:4433 v2@localhost tls
    visit --cacert ca.pem https://app.example.com
    """,
)
def test_row_1_3_tls_ends_at_the_upstream(user: SshUser, edge: RunningEdge, tmp_path: Path) -> None:
    pairs = KeyPairs(tmp_path, "upstream")
    with (
        tls_service(pairs.issue("app.example.com")) as port,
        user.forward("-R", f"app.example.com:443:localhost:{port}", user.door, "tls") as (_, url),
    ):
        assert url == f"tls://app.example.com:{edge.https_port}"
        # The certificate that the visitor checks is the upstream's: the edge passes TLS through.
        assert curl(url, pairs.ca).body == "its own"
        assert curl(url, edge.ca).exit == 60


def test_http_gets_a_random_name_and_the_edge_s_certificate(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"0:localhost:{service}", user.door, "http") as (ssh, url):
        assert urlsplit(url).scheme == "https"
        assert curl(url + "/a", edge.ca).body == "served /a\n"
        assert curl(url + "/b", edge.ca, "--http1.1").body == "served /b\n"
        assert url in ssh.line()
        ssh.interrupt()
        ssh.finish()
    eventually(lambda: curl(url, edge.ca).status == 404)


@pytest.mark.parametrize("place", ["443", "0", "docs.example.org:443"])
def test_https_by_any_way_of_writing_it(user: SshUser, edge: RunningEdge, service: int, place: str) -> None:
    with user.forward("-R", f"{place}:localhost:{service}", user.door, "http") as (_, url):
        assert url.startswith("https://")
        assert curl(url + "/a", edge.ca).status == 200
        assert place.count(":") == 0 or urlsplit(url).hostname == "docs.example.org"


def test_port_80_is_http_without_tls(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"plain:80:localhost:{service}", user.door, "http") as (_, url):
        assert url == f"http://plain.localhost:{edge.http_port}"
        assert curl(url + "/a", edge.ca).body == "served /a\n"


def test_tcp_takes_the_next_port_or_the_asked_for_one(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"0:localhost:{service}", user.door, "tcp") as (_, url):
        assert curl(url + "/a", edge.ca).body == "served /a\n"
    port = urlsplit(url).port
    with user.forward("-R", f"{port}:localhost:{service}", user.door, "tcp") as (ssh, again):
        assert urlsplit(again).port == port
        assert curl(again + "/a", edge.ca).body == "served /a\n"
        assert "connection from 127.0.0.1:" in ssh.line()


def test_several_forwards_of_one_connection_do_not_mix(user: SshUser, edge: RunningEdge, service: int) -> None:
    with http_service(free_port()) as other:
        places = ("0", "0", "one.example.org:443", "two.example.org:443")
        ports = (service, other, service, other)
        forwards = [
            word for place, port in zip(places, ports, strict=True) for word in ("-R", f"{place}:localhost:{port}")
        ]
        with user.ssh(*forwards, user.door, "http") as ssh:
            urls = [ssh.url() for _ in places]
            assert len(set(urls)) == 4
            for url in urls:
                assert curl(url + "/x", edge.ca).body == "served /x\n"
    # Each went to its own upstream: the second one is gone, and only its forwards fail.
    with user.ssh(*forwards, user.door, "http") as ssh:
        urls = [ssh.url() for _ in places]  # before the first visit, which has lines of its own
        statuses = [curl(url, edge.ca).status for url in urls]
        assert statuses == [200, 502, 200, 502]


def test_two_forwards_that_the_client_could_not_tell_apart(user: SshUser, service: int) -> None:
    with user.ssh("-R", f"443:localhost:{service}", "-R", "443:localhost:1", user.door, "http") as ssh:
        status, _, errors = ssh.finish()
        assert status == 1
        assert "two forwards of this connection want localhost:443 (PORTICO_20005)" in errors


def test_flags_of_the_agent(user: SshUser, edge: RunningEdge, service: int) -> None:
    flags = ("--url", "flags.example.org", "--description", "it's mine", "--metadata", "m=1", "--name=n")
    with user.forward(
        "-R",
        f"0:localhost:{service}",
        user.door,
        "http",
        *(f"'{flag}'" if " " not in flag else f'"{flag}"' for flag in flags),
    ) as (_, url):
        assert urlsplit(url).hostname == "flags.example.org"
        endpoints = user.api("GET", "/endpoints").json()["endpoints"]
        mine = next(one for one in endpoints if one["public_url"] == url)
        assert (mine["description"], mine["metadata"], mine["name"]) == ("it's mine", "m=1", "n")
        session = user.api("GET", "/tunnel_sessions").json()["tunnel_sessions"][0]
        assert session["transport"] == "ssh"
        assert session["agent_version"].startswith("OpenSSH")


def test_a_pool_of_two_connections(user: SshUser, edge: RunningEdge, service: int) -> None:
    words = ("-R", f"pool.example.org:443:localhost:{service}", user.door, "http", "--pooling-enabled")
    with user.forward(*words) as (_, url), user.forward(*words) as (second, same):
        assert url == same
        assert curl(url, edge.ca).status == 200
        second.stop()
        eventually(lambda: curl(url, edge.ca).status == 200)


def test_without_a_command_the_port_says_the_protocol(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.ssh("-N", "-R", f"quiet.example.org:443:localhost:{service}", user.door) as ssh:
        url = f"https://quiet.example.org:{edge.https_port}"
        eventually(lambda: curl(url + "/q", edge.ca).body == "served /q\n")
        ssh.interrupt()
        assert ssh.finish()[1] == ""


def test_an_upstream_that_is_down_is_named(user: SshUser, edge: RunningEdge) -> None:
    with user.forward("-R", f"0:127.0.0.1:{free_port()}", user.door, "http") as (ssh, url):
        answer = curl(url, edge.ca)
        assert (answer.status, answer.error_code) == (502, "ERR_NGROK_8012")
        assert "Connection refused" in answer.body
        assert "connection" in ssh.line()
        assert "your upstream was not reached: Connection refused" in ssh.line()


def test_the_visitor_s_address_reaches_the_upstream(user: SshUser, edge: RunningEdge) -> None:
    with ExitStack() as held:
        upstream = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        words = ("-R", f"0:127.0.0.1:{upstream.getsockname()[1]}", user.door, "tcp", "--proxy-proto", "1")
        _, url = held.enter_context(user.forward(*words))
        port = urlsplit(url).port or 0
        visitor = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        visitor.sendall(b"hello")
        connection = held.enter_context(upstream.accept()[0])
        wanted = f"PROXY TCP4 127.0.0.1 127.0.0.1 {visitor.getsockname()[1]} {port}\r\nhello"
        seen = b""
        while len(seen) < len(wanted):
            seen += connection.recv(4096)
        assert seen.decode() == wanted


def test_help_and_a_terminal(user: SshUser, service: int) -> None:
    with user.ssh("-R", f"0:localhost:{service}", user.door, "http", "--help") as ssh:
        status, output, _ = ssh.finish()
        assert status == 0
        assert output.startswith("Usage: ssh -R")
    with user.ssh("-tt", "-R", f"0:localhost:{service}", user.door, "http") as ssh:
        assert ssh.url().startswith("https://")
        ssh.interrupt()
        ssh.finish()


def test_a_cancelled_forward_goes_offline_alone(user: SshUser, edge: RunningEdge, service: int, tmp_path: Path) -> None:
    control = ("-o", f"ControlPath={tmp_path / 'c'}")
    first, second = (f"{name}.example.org:443:localhost:{service}" for name in ("stays", "goes"))
    with user.ssh("-M", *control, "-R", first, "-R", second, user.door, "http") as ssh:
        stays, goes = ssh.url(), ssh.url()
        assert curl(goes, edge.ca).status == 200
        with user.ssh(*control, "-O", "cancel", "-R", second, user.door) as order:
            assert order.finish()[0] == 0
        eventually(lambda: curl(goes, edge.ca).status == 404)
        assert curl(stays, edge.ca).status == 200


def test_a_client_that_leaves_is_no_fault(user: SshUser, edge: RunningEdge, service: int) -> None:
    for _ in range(2):  # what the first one's leaving left behind is in the log before the second one has left
        with user.ssh("-R", f"0:localhost:{service}", user.door, "http") as ssh:
            url = ssh.url()
            ssh.interrupt()
            ssh.finish()
        eventually(lambda url=url: curl(url, edge.ca).status == 404)
    assert "never retrieved" not in edge.log.read_text()


def test_what_is_asked_of_visitors(user: SshUser, service: int) -> None:
    tag = {"type": "add-headers", "config": {"headers": {"x-by": "policy"}}}
    policy = json.dumps({"on_http_response": [{"actions": [tag]}]})
    asked = ("--basic-auth", "ada:lovelace1815", "--traffic-policy", f"'{policy}'")
    with user.ssh("-R", f"0:localhost:{service}", user.door, "http", *asked) as ssh:
        url = ssh.url()
        assert visit(user.edge, url).status_code == 401
        answer = visit(user.edge, url, headers={"authorization": "Basic YWRhOmxvdmVsYWNlMTgxNQ=="})
        assert (answer.status_code, answer.headers["x-by"]) == (200, "policy")
    for listed, reached in (("127.0.0.0/8", True), ("192.0.2.0/24", False)):
        with user.ssh("-R", f"0:localhost:{service}", user.door, "tcp", "--cidr-allow", listed) as ssh:
            assert (curl(ssh.url(), user.edge.ca).status == 200) == reached
