"""Sessions and endpoints survive the death of every part, one after another, on one running edge."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator

import pytest

import portico
from kit.edge import RunningEdge, running_edge
from kit.link_cutter import link_cutter
from kit.polling import eventually
from kit.service import http_service
from kit.visitor import Visitor


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@pytest.fixture(scope="module")
def visitor(edge: RunningEdge) -> Visitor:
    return Visitor(edge.ca)


@pytest.fixture
def listener(edge: RunningEdge, service: int) -> Iterator[portico.Listener]:
    listener = portico.forward(
        service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
    )
    yield listener
    portico.kill()


def assert_serves(visitor: Visitor, listener: portico.Listener) -> None:
    assert visitor.get(listener.url() + "/again") == (200, "served /again\n")


def replaced(edge: RunningEdge, name: str, old: int) -> bool:
    return edge.child(name) != old


def test_a_killed_relay_s_agents_return_with_the_same_url(
    edge: RunningEdge, visitor: Visitor, listener: portico.Listener
) -> None:
    assert_serves(visitor, listener)
    url, old = listener.url(), edge.child("r0")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: replaced(edge, "r0", old))
    eventually(lambda: visitor.get(url)[0] == 200)
    assert listener.url() == url


def test_nothing_notices_that_control_was_killed(
    edge: RunningEdge, visitor: Visitor, service: int, listener: portico.Listener
) -> None:
    url, old = listener.url(), edge.child("control")
    streaming = visitor.connection(url)
    streaming.request("GET", "/stream?4")
    answer = streaming.getresponse()
    os.kill(old, signal.SIGKILL)
    while not replaced(edge, "control", old):
        assert visitor.get(url)[0] == 200
    # A bind that is asked for while control is away waits for it.
    second = portico.forward(service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca))
    assert_serves(visitor, second)
    assert_serves(visitor, listener)
    assert answer.read().decode().split() == [str(number) for number in range(40)]
    second.close()
    assert visitor.get(second.url())[0] == 404
    assert_serves(visitor, listener)


def test_a_killed_envoy_is_back_with_everything(
    edge: RunningEdge, visitor: Visitor, listener: portico.Listener
) -> None:
    old = edge.child("envoy")
    os.kill(old, signal.SIGKILL)
    eventually(lambda: replaced(edge, "envoy", old))
    eventually(lambda: visitor.get(listener.url())[0] == 200)


def test_a_new_envoy_takes_over_and_no_visitor_is_refused(
    edge: RunningEdge, visitor: Visitor, listener: portico.Listener
) -> None:
    url, old = listener.url(), edge.child("envoy")
    long_request = visitor.connection(url)
    long_request.request("GET", "/stream?3")
    answer = long_request.getresponse()
    statuses: list[int] = []
    stop = threading.Event()

    def keep_visiting() -> None:
        while not stop.is_set():
            statuses.append(visitor.get(url)[0])

    steady = threading.Thread(target=keep_visiting)
    steady.start()
    edge.process.send_signal(signal.SIGHUP)
    eventually(lambda: replaced(edge, "envoy", old))
    seen = len(statuses)
    eventually(lambda: len(statuses) > seen + 20)
    stop.set()
    steady.join()
    assert set(statuses) == {200}
    assert len(answer.read().split()) == 30


def test_connections_outlive_one_new_envoy_after_another(edge: RunningEdge, service: int) -> None:
    options = {"authtoken": edge.authtoken, "connect_url": edge.connect_url, "connect_cas": str(edge.ca)}
    host, _, port = portico.forward(service, proto="tcp", **options).url().removeprefix("tcp://").rpartition(":")
    moved = edge.log.read_text().count("session moved")
    connections: list[http.client.HTTPConnection] = []
    for restart in range(1, 4):
        connections.append(http.client.HTTPConnection(host, int(port), timeout=30))
        connections[-1].connect()
        sockets = [connection.sock for connection in connections]
        old = edge.child("envoy")
        edge.process.send_signal(signal.SIGHUP)
        eventually(lambda old=old: replaced(edge, "envoy", old))
        eventually(lambda wanted=moved + restart: edge.log.read_text().count("session moved") == wanted)
        for connection in connections:
            connection.request("GET", "/still-there")
            assert connection.getresponse().read() == b"served /still-there\n"
        assert [connection.sock for connection in connections] == sockets
    for connection in connections:
        connection.close()
    portico.kill()


def test_an_agent_whose_link_is_cut_is_back_with_its_names(edge: RunningEdge, visitor: Visitor, service: int) -> None:
    with link_cutter(edge.https_port) as link:
        options = {"authtoken": edge.authtoken, "connect_url": f"localhost:{link.port}", "connect_cas": str(edge.ca)}
        listeners = [portico.forward(service, **options) for _ in range(3)]
        listeners.append(portico.forward(service, proto="tcp", **options))
        urls = [listener.url() for listener in listeners]
        for fault in (link.cut, link.freeze_and_cut_agent_side):
            fault()
            for url in urls[:3]:
                eventually(lambda url=url: visitor.get(url)[0] == 200)
        assert [listener.url() for listener in listeners] == urls
        portico.kill()


def test_an_agent_comes_back_after_a_long_refusal(edge: RunningEdge, visitor: Visitor, service: int) -> None:
    with link_cutter(edge.https_port) as link:
        listener = portico.forward(
            service, authtoken=edge.authtoken, connect_url=f"localhost:{link.port}", connect_cas=str(edge.ca)
        )
        link.refuse(True)
        link.cut()
        eventually(lambda: visitor.get(listener.url())[0] == 404)
        link.refuse(False)
        eventually(lambda: visitor.get(listener.url())[0] == 200)
        portico.kill()


def test_sigterm_lets_a_request_finish(tmp_path_factory: pytest.TempPathFactory, service: int) -> None:
    with running_edge(tmp_path_factory.mktemp("drain"), "--drain-seconds", "20") as edge:
        listener = portico.forward(
            service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
        )
        slow = Visitor(edge.ca).connection(listener.url())
        slow.request("GET", "/slow?2")
        edge.process.send_signal(signal.SIGTERM)
        answer = slow.getresponse()
        assert (answer.status, answer.read()) == (200, b"served /slow?2\n")
        slow.close()
        assert edge.stop() == 0
        portico.kill()
