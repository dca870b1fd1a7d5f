"""Who is not let in over SSH, and what is not offered there: with reason, code, and what to use instead."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.curl import curl
from kit.edge import RunningEdge
from kit.polling import eventually
from kit.ports import free_port
from kit.rows import row
from kit.service import http_service
from kit.ssh import SshUser


@pytest.fixture(scope="module")
def user(edge: RunningEdge, tmp_path_factory: pytest.TempPathFactory) -> SshUser:
    known = SshUser(edge, tmp_path_factory.mktemp("ssh"))
    known.register()
    return known


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


def refused(user: SshUser, *arguments: str) -> str:
    """What `ssh` says on standard error when its command is refused."""
    with user.ssh(*arguments) as ssh:
        status, output, errors = ssh.finish()
    assert (status, output) == (1, "")
    return errors


@row("1.10", by_hand="ssh -p 2222 -R 443:localhost:8000 v2@localhost tls --terminate-at edge")
def test_row_1_10_termination_at_the_edge(user: SshUser, service: int) -> None:
    said = refused(user, "-R", f"443:localhost:{service}", user.door, "tls", "--terminate-at", "edge")
    assert "SSH does not support termination at the edge (PORTICO_20012)." in said
    assert "Use `http` here" in said
    assert "portico tls … --terminate-at edge" in said


@row("1.17", by_hand="ssh -p 2222 -R 443:localhost:8000 v2@localhost tls --terminate-at agent")
def test_row_1_17_termination_at_the_agent(user: SshUser, service: int) -> None:
    said = refused(
        user, "-R", f"443:localhost:{service}", user.door, "tls", "--terminate-at=agent", "--crt", "a", "--key", "b"
    )
    assert "SSH does not support termination at the agent (PORTICO_20012)." in said
    assert "portico tls … --terminate-at agent" in said


@row("1.10", "1.17", by_hand="ssh -p 2222 -R 443:localhost:8000 v2@localhost tls --crt app.pem --key app.key")
@pytest.mark.parametrize("flag", ["--crt", "--key"])
def test_row_1_10_own_certificate(user: SshUser, service: int, flag: str) -> None:
    said = refused(user, "-R", f"443:localhost:{service}", user.door, "tls", flag, "app.pem")
    assert f"{flag} names a file that SSH does not send" in said
    assert "(PORTICO_20012)" in said


@row("2.6", "2.8", by_hand="ssh -p 2222 -R 443:localhost:8000 v2@localhost tls --mutual-tls-cas cas.pem")
@pytest.mark.parametrize("protocol", ["tls", "http"])
def test_row_2_6_mutual_tls(user: SshUser, service: int, protocol: str) -> None:
    said = refused(user, "-R", f"443:localhost:{service}", user.door, protocol, "--mutual-tls-cas", "cas.pem")
    assert "mutual TLS is not offered over SSH (PORTICO_20012)." in said
    assert "--mutual-tls-cas FILE" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["http", "--traffic-policy-file", "a"], "--traffic-policy-file is not offered over SSH (PORTICO_20012)"),
        (["http", "--basic-auth", "ada:short"], "credentials[0]: must have a user, and a password of 8"),
        (["http", "--traffic-policy", '\'{"on_http_request": [{"actions": []}]}\''], "on_http_request[0].actions"),
        (["http", "--frobnicate"], "there is no flag '--frobnicate' (PORTICO_20067)"),
        (["http", "8080"], "'8080' is no flag (PORTICO_20067)"),
        (["gopher"], "'gopher' is no protocol"),
        (["tls", "--host-header", "x"], "--host-header is no flag of tls"),
        (["http", "--url", "tcp://a.example:1"], "is no http URL"),
    ],
)
def test_what_is_not_understood_is_not_ignored(user: SshUser, service: int, words: list[str], reason: str) -> None:
    assert reason in refused(user, "-R", f"0:localhost:{service}", user.door, *words)


@pytest.mark.parametrize(
    ("place", "protocol", "reason"),
    [
        ("8081", "http", "http endpoints are at ports 443 and 80, not 8081"),
        ("80", "tls", "tls endpoints are at port 443, not 80"),
        ("1", "tcp", "port 1 is outside of this edge's range"),
        ("connect.localhost:443", "http", "connect.localhost belongs to the edge itself"),
        ("-x-.example:443", "http", "'-x-.example' is not a host name"),
    ],
)
def test_places_that_cannot_be_had(user: SshUser, service: int, place: str, protocol: str, reason: str) -> None:
    assert reason in refused(user, "-R", f"{place}:localhost:{service}", user.door, protocol)


def test_nothing_to_forward(user: SshUser) -> None:
    assert "there is nothing to forward (PORTICO_20067)" in refused(user, user.door, "http")


def test_the_same_is_said_where_there_is_no_terminal(user: SshUser, service: int) -> None:
    with user.ssh("-N", "-R", f"1:localhost:{service}", user.door) as ssh:
        status, _, errors = ssh.finish()
    assert status == 255
    assert "port 1 is outside of this edge's range" in errors
    assert "(PORTICO_20002)" in errors


def test_a_name_that_is_taken(user: SshUser, edge: RunningEdge, service: int) -> None:
    words = ("-R", f"taken.example.org:443:localhost:{service}", user.door, "http")
    with user.forward(*words) as (_, url):
        assert "is already online (PORTICO_334)" in refused(user, *words)
        assert curl(url, edge.ca).status == 200


def test_an_unknown_key_is_told_how_to_register(edge: RunningEdge, service: int, tmp_path: Path) -> None:
    stranger = SshUser(edge, tmp_path)
    with stranger.ssh("-R", f"0:localhost:{service}", stranger.door, "http") as ssh:
        status, _, errors = ssh.finish()
    assert status == 255
    assert "is not registered at this edge" in errors
    assert "portico api ssh-credentials create" in errors
    assert "Permission denied" in errors


def test_an_authtoken_is_the_password(edge: RunningEdge, service: int, tmp_path: Path) -> None:
    stranger = SshUser(edge, tmp_path)
    for method in ("keyboard-interactive", "password"):
        words = ("-o", f"PreferredAuthentications={method}", "-R", f"0:localhost:{service}", stranger.door, "http")
        with stranger.ssh(*words, password=edge.authtoken) as ssh:
            assert curl(ssh.url(), edge.ca).status == 200
        with stranger.ssh(*words, password="pt_" + "x" * 32) as ssh:
            assert ssh.finish()[0] == 255
    assert "Authtoken:" in (tmp_path / "askpass.asked").read_text()
    assert edge.authtoken not in edge.log.read_text()


def test_a_revoked_key_ends_its_sessions(edge: RunningEdge, service: int, tmp_path: Path) -> None:
    leaving = SshUser(edge, tmp_path)
    credential = leaving.register()
    words = ("-R", f"0:localhost:{service}", leaving.door, "http")
    with leaving.forward(*words) as (ssh, url):
        assert curl(url, edge.ca).status == 200
        leaving.api("DELETE", f"/ssh_credentials/{credential}")
        status, _, errors = ssh.finish()
        assert status == 1
        assert "its credential was revoked" in errors
    eventually(lambda: curl(url, edge.ca).status == 404)
    with leaving.ssh(*words) as ssh:
        assert ssh.finish()[0] == 255


def test_a_key_is_held_to_its_acl(edge: RunningEdge, service: int, tmp_path: Path) -> None:
    limited = SshUser(edge, tmp_path)
    limited.register(acl=["bind:allowed.example.org"])
    with limited.forward("-R", f"allowed.example.org:443:localhost:{service}", limited.door, "http") as (_, url):
        assert curl(url, edge.ca).status == 200
    said = refused(limited, "-R", f"other.example.org:443:localhost:{service}", limited.door, "http")
    assert "(PORTICO_20010)" in said


def test_nothing_but_reverse_forwards(user: SshUser, edge: RunningEdge, service: int) -> None:
    local = free_port()
    words = ("-R", f"0:localhost:{service}", "-L", f"{local}:{edge.facts['admin']}", user.door, "http")
    with user.forward(*words), contextlib.suppress(ConnectionResetError):
        through = socket.create_connection(("127.0.0.1", local))
        through.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert through.recv(1) == b""
        through.close()
    with user.ssh("-s", user.door, "sftp") as ssh:
        assert ssh.finish()[0] != 0
