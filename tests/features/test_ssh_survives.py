"""Sessions over SSH and the death of processes: the door's own, control's, and other relays'."""

import os
import signal
from collections.abc import Iterator

import pytest

import portico
from kit.curl import curl
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.service import http_service
from kit.ssh import SshUser
from kit.visitor import Visitor


@pytest.fixture(scope="module")
def user(edge: RunningEdge, tmp_path_factory: pytest.TempPathFactory) -> SshUser:
    known = SshUser(edge, tmp_path_factory.mktemp("ssh"))
    known.register()
    return known


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


def killed(edge: RunningEdge, name: str) -> None:
    """SIGKILL, and the next process of that name."""
    old = edge.child(name)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: edge.child(name) != old)


def only_session(user: SshUser) -> dict[str, str]:
    """The one that is there, once the edge has heard of the others' ends."""

    def sessions() -> list[dict[str, str]]:
        found: list[dict[str, str]] = user.api("GET", "/tunnel_sessions").json()["tunnel_sessions"]
        assert len(found) == 1, found
        return found

    return eventually(sessions)[0]


def test_a_killed_door_refuses_nobody_and_touches_no_agent(user: SshUser, edge: RunningEdge, service: int) -> None:
    words = ("-R", f"again.example.org:443:localhost:{service}", user.door, "http")
    listener = portico.forward(
        service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
    )
    visitor = Visitor(edge.ca)
    streaming = visitor.connection(listener.url())
    streaming.request("GET", "/stream?3")
    answer = streaming.getresponse()
    with user.forward(*words) as (ssh, url):
        assert curl(url, edge.ca).status == 200
        os.kill(edge.child("ssh0"), signal.SIGKILL)
        assert ssh.finish()[0] == 255
        # The listening socket is the supervisor's: whoever comes now waits for the next process.
        with user.forward(*words) as (_, same):
            assert same == url
            assert curl(url, edge.ca).status == 200
    assert answer.read().split() == [b"%d" % number for number in range(30)]
    assert visitor.get(listener.url())[0] == 200
    portico.kill()


def test_a_killed_relay_touches_no_ssh_session(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"0:localhost:{service}", user.door, "http") as (ssh, url):
        killed(edge, "r0")
        assert curl(url, edge.ca).status == 200
        assert ssh.process.poll() is None


def test_nothing_notices_that_control_was_killed(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"kept.example.org:443:localhost:{service}", user.door, "http") as (ssh, url):
        visitor = Visitor(edge.ca)
        old = edge.child("control")
        os.kill(old, signal.SIGKILL)
        while edge.child("control") == old:
            assert visitor.get(url)[0] == 200
        # A connection that comes while control is away waits for it, and the name is still the first one's.
        with user.ssh("-R", f"kept.example.org:443:localhost:{service}", user.door, "http") as rival:
            status, _, errors = rival.finish()
            assert (status, "already online" in errors) == (1, True)
        assert visitor.get(url)[0] == 200
        assert only_session(user)["transport"] == "ssh"
        assert ssh.process.poll() is None


def test_the_operator_stops_a_session(user: SshUser, edge: RunningEdge, service: int) -> None:
    with user.forward("-R", f"0:localhost:{service}", user.door, "http") as (ssh, _):
        session = only_session(user)
        user.api("POST", f"/tunnel_sessions/{session['id']}/stop", json={})
        status, _, errors = ssh.finish()
        assert (status, "stopped by the edge's operator" in errors) == (1, True)


def test_draining_ends_idle_sessions(tmp_path_factory: pytest.TempPathFactory, service: int) -> None:
    with running_edge(tmp_path_factory.mktemp("edge"), "--drain-seconds", "2") as edge:
        user = SshUser(edge, tmp_path_factory.mktemp("ssh"))
        user.register()
        assert (edge.data_dir / "ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
        with user.forward("-R", f"0:localhost:{service}", user.door, "http") as (ssh, _):
            assert edge.stop() == 0
            status, _, errors = ssh.finish()
            assert status == 1
            assert "the relay ends" in errors
