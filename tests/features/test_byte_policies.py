"""Policies of tcp and tls endpoints in a real edge: who is refused hears nothing, and no upstream hears of him."""

import contextlib
import json
import os
import signal
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import portico
from kit.client_certificates import VisitorAuthority
from kit.edge import RunningEdge, running_edge
from kit.policies import Rule, rule
from kit.polling import eventually
from kit.visit import visit
from kit.whole_lines import records
from portico.model.errors import PorticoError

OTHER = "other-owners-token-0123456789"
DENY = ("deny", {})


@dataclass
class Greeter:
    """An upstream that speaks first, and then says everything again that it hears."""

    name: bytes
    port: int = 0
    visitors: list[tuple[str, int]] = field(default_factory=list)


@contextlib.contextmanager
def greeter(name: bytes) -> Iterator[Greeter]:
    greets = Greeter(name)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            greets.visitors.append(self.client_address)
            self.request.sendall(b"HELLO " + name + b"\n")
            with contextlib.suppress(OSError):
                while data := self.request.recv(65_536):
                    self.request.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 100

    with Server(("127.0.0.1", 0), Handler) as server:
        greets.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield greets
        server.shutdown()
        thread.join()


@dataclass
class Rig:
    edge: RunningEdge
    config: Path
    access_log: Path
    one: Greeter
    two: Greeter

    def forward(self, *rules: Rule, **options: Any) -> str:
        return self.listener(*rules, **options).url()

    def listener(self, *rules: Rule, to: Greeter | None = None, **options: Any) -> portico.Listener:
        policy = {"on_tcp_connect": list(rules)} if rules else None
        options = {"proto": "tcp", "authtoken": self.edge.authtoken, **options}
        session = {"connect_url": self.edge.connect_url, "connect_cas": str(self.edge.ca)}
        return portico.forward((to or self.one).port, traffic_policy=policy, **options, **session)

    def dial(self, url: str, tls: ssl.SSLContext | None = None) -> socket.socket:
        scheme, _, place = url.partition("://")
        host, _, port = place.rpartition(":")
        raw = socket.create_connection(("127.0.0.1", int(port)), 60)
        if scheme == "tcp":
            return raw
        return (tls or self.trust()).wrap_socket(raw, server_hostname=host)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.edge.ca))

    def hears(self, url: str, tls: ssl.SSLContext | None = None) -> bytes:
        """The greeting, or nothing where the connection is closed."""
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError), self.dial(url, tls) as visitor:
            return visitor.recv(100)
        return b""

    def line(self, endpoint: str, **wanted: object) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            lines = records(self.access_log)
            return next((one for one in lines if one["endpoint"] == endpoint and wanted.items() <= one.items()), None)

        found = eventually(look)
        assert found is not None
        return found

    def api(self, method: str, path: str, body: object = None) -> Any:
        key = (self.edge.data_dir / "api-key").read_text().strip()
        headers = {"authorization": f"Bearer {key}", "ngrok-version": "2"}
        url = f"https://api.localhost:{self.edge.https_port}"
        return visit(self.edge, url, path, method, headers=headers, json=body)

    def tcp_port(self) -> int:
        """A port of the edge's that nobody has."""
        listener = self.listener()
        listener.close()
        return int(listener.url().rpartition(":")[2])

    def declare(self, *endpoints: dict[str, Any]) -> None:
        owners = [{"name": "other", "authtoken": OTHER}]
        self.config.write_text(yaml.safe_dump({"owners": owners, "endpoints": list(endpoints)}))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("edge")
    config, access_log = directory / "edge.yml", directory / "access.log"
    flags = (
        "--config",
        str(config),
        "--access-log",
        "json",
        "--access-log-file",
        str(access_log),
        "--tls-fingerprints=on",
    )
    with greeter(b"one") as one, greeter(b"two") as two:
        Rig.declare(rig := Rig(None, config, access_log, one, two))  # type: ignore[arg-type]
        with running_edge(directory, *flags, tcp_ports=60) as edge:
            rig.edge = edge
            yield rig
            portico.kill()


@pytest.mark.parametrize(
    ("rules", "greets"),
    [
        ([rule(DENY)], False),
        ([rule(("close-connection", {}))], False),
        ([rule(DENY, when=["conn.client_ip == '127.0.0.1'"])], False),
        ([rule(DENY, when=["conn.client_ip == '192.0.2.1'"])], True),
        ([rule(DENY, when=["conn.server_port == endpoint.port"])], False),
        ([rule(("restrict-ips", {"allow": ["127.0.0.0/8"]}), when=["true"])], True),
        ([rule(("restrict-ips", {"allow": ["10.0.0.0/8"]}), when=["conn.client_port > 0"])], False),
        ([rule(("restrict-ips", {"allow": ["10.0.0.0/8"]}), when=["conn.client_port == 0"])], True),
        ([rule(("restrict-ips", {"allow": ["10.0.0.0/8"]}))], False),
        ([rule(("set-vars", {"vars": [{"a": 1}]})), rule(DENY, when=["vars.a == 1"])], False),
        ([rule(DENY, when=["conn.tls.sni == 'x'"])], False),
    ],
)
def test_who_is_refused_hears_nothing(rig: Rig, rules: list[Rule], greets: bool) -> None:
    url = rig.forward(*rules)
    known = len(rig.one.visitors)
    assert rig.hears(url) == (b"HELLO one\n" if greets else b"")
    assert len(rig.one.visitors) == known + greets


def test_what_is_logged(rig: Rig) -> None:
    metadata = {"from": "${conn.client_ip}", "port": "${conn.client_port}"}
    url = rig.forward(rule(("log", {"metadata": metadata}), name="seen"), rule(DENY, when=["false"]))
    with rig.dial(url) as visitor:
        host, port = visitor.getsockname()
        assert visitor.recv(100)
    line = rig.line(url)
    assert line["policy"] == {"rule": "seen", "action": "log", "log": {"from": host, "port": port}}
    assert line["visitor"] == f"{host}:{port}"
    assert line["upstream"] == "tunnel"
    refused = rig.forward(rule(DENY, name="nobody"))
    assert not rig.hears(refused)
    line = rig.line(refused)
    assert (line["policy"]["rule"], line["upstream"]) == ("nobody", None)


def test_bytes_go_both_ways_to_their_ends(rig: Rig) -> None:
    url = rig.forward(rule(DENY, when=["false"]))
    sent = os.urandom(1 << 20) * 8
    with rig.dial(url) as visitor:
        early = threading.Thread(target=lambda: (visitor.sendall(sent), visitor.shutdown(socket.SHUT_WR)))
        early.start()  # before anything is decided, and the end of it, too
        heard = bytearray()
        while data := visitor.recv(1 << 16):
            heard += data
        early.join()
    assert heard == b"HELLO one\n" + sent


@pytest.mark.parametrize("inner", ["tcp://inner.internal:7", "tls://inner.internal"])
def test_forwarding_from_an_agents_endpoint(rig: Rig, inner: str) -> None:
    outer = rig.forward(rule(("forward-internal", {"url": inner})))
    assert rig.hears(outer) == b""  # it is not online yet
    rig.forward(to=rig.two, proto=inner[:3], url=inner)
    assert rig.hears(outer) == b"HELLO two\n"
    assert rig.line(outer, upstream="tunnel")["policy"]["action"] == "forward-internal"


def test_the_inner_policy_decides_too(rig: Rig) -> None:
    inner = "tcp://guarded.internal:1"
    rig.forward(rule(DENY, when=["conn.client_ip == '127.0.0.1'"]), to=rig.two, url=inner)
    assert rig.hears(rig.forward(rule(("forward-internal", {"url": inner})))) == b""
    outside = "tcp://outside.internal:1"
    rig.forward(rule(("restrict-ips", {"allow": ["10.0.0.0/8"]})), to=rig.two, url=outside)
    assert rig.hears(rig.forward(rule(("forward-internal", {"url": outside})))) == b""


def test_nobody_is_led_to_another_owners(rig: Rig) -> None:
    inner = "tcp://private.internal:1"
    rig.forward(to=rig.two, url=inner, authtoken=OTHER)
    there = {"url": inner, "on_error": "continue"}
    assert rig.hears(rig.forward(rule(("forward-internal", {"url": inner})))) == b""
    assert rig.hears(rig.forward(rule(("forward-internal", there)))) == b"HELLO one\n"
    assert rig.hears(rig.forward(rule(("forward-internal", there)), authtoken=OTHER)) == b"HELLO two\n"


def test_tls_that_ends_at_the_edge(rig: Rig, tmp_path: Path) -> None:
    authority = VisitorAuthority()
    asks = {"mutual_tls_certificate_authorities": [authority.pem], "mutual_tls_verification_strategy": "request"}
    known = ("conn.tls.version", "conn.tls.sni", "conn.tls.client.subject.common_name")
    url = rig.forward(
        rule(("terminate-tls", asks)),
        rule(DENY, when=["conn.tls.client.subject.common_name != 'friend'"]),
        rule(("log", {"metadata": {name: f"${{{name}}}" for name in known}})),
        proto="tls",
        url="tls://within.localhost",
    )
    assert rig.hears(url) == b""
    pair = tmp_path / "visitor.pem"
    for name, heard in (("foe", b""), ("friend", b"HELLO one\n")):
        issued = authority.issue(name)
        pair.write_text(issued.certificate + issued.key)
        shows = rig.trust()
        shows.load_cert_chain(pair)
        assert rig.hears(url, shows) == heard
    line = rig.line(url, upstream="tunnel")
    assert line["policy"]["log"] == dict(zip(known, ("1.3", "within.localhost", "friend"), strict=True))
    assert line["tls"] == {"version": "TLSv1.3", "server_name": "within.localhost", "certificate": "CN=friend"}


def test_an_unverified_visitor_reaches_no_upstream(rig: Rig) -> None:
    demands = {"mutual_tls_certificate_authorities": [VisitorAuthority().pem]}
    url = rig.forward(
        rule(("terminate-tls", demands)), rule(DENY, when=["false"]), proto="tls", url="tls://demands.localhost"
    )
    known = len(rig.one.visitors)
    with contextlib.suppress(OSError), rig.dial(url) as visitor:
        assert visitor.recv(100) == b""
    assert len(rig.one.visitors) == known


def test_tls_that_passes_through(rig: Rig) -> None:
    """Before any handshake: the visitor's first record comes back from the greeter, or nothing does."""

    def heard(url: str) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        host, _, port = url.removeprefix("tls://").rpartition(":")
        hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=host)
        with contextlib.suppress(ssl.SSLWantReadError):
            hello.do_handshake()
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", int(port)), 60) as visitor:
            visitor.sendall(outgoing.read())
            return visitor.recv(100)[:6]
        return b""

    rules = [rule(DENY, when=["conn.tls.sni.startsWith('bad')"])]
    for host, expected in (("good", b"HELLO "), ("bad", b"")):
        assert heard(rig.forward(*rules, proto="tls", url=f"tls://{host}.localhost")) == expected
    # Who shakes hands like this visitor is refused, and so is who came before now, which all have; nobody else is.
    facts = (
        ("conn.tls.ja4_fingerprint.startsWith('t1')", b""),
        ("conn.tls.ja4_fingerprint.startsWith('q')", b"HELLO "),
        ("conn.ts.start <= timestamp(time.now)", b""),
        ("conn.ts.start > timestamp(time.now)", b"HELLO "),
    )
    for number, (when, expected) in enumerate(facts):
        asking = rule(DENY, when=[when])
        assert heard(rig.forward(asking, proto="tls", url=f"tls://fact{number}.localhost")) == expected
    inner = "tls://passed.internal"
    rig.forward(to=rig.two, proto="tls", url=inner)
    led = rule(("forward-internal", {"url": inner}))
    known = len(rig.two.visitors)
    assert heard(rig.forward(led, proto="tls", url="tls://led.localhost")) == b"HELLO "
    assert len(rig.two.visitors) == known + 1


@pytest.mark.parametrize("terminates", [False, True])
def test_the_upstream_is_told_who_the_visitor_is(rig: Rig, terminates: bool) -> None:
    inner = f"tcp://told{terminates}.internal:1".lower()
    rig.forward(to=rig.two, url=inner, proxy_proto="1")
    rules = [rule(("forward-internal", {"url": inner}))]
    options = {}
    if terminates:
        rules.insert(0, rule(("terminate-tls", {})))
        options = {"proto": "tls", "url": "tls://told.localhost"}
    with rig.dial(rig.forward(*rules, **options)) as visitor:
        host, port = visitor.getsockname()
        heard = b""
        while heard.count(b"\n") < 2:
            heard += visitor.recv(100)
    assert heard.splitlines()[1].startswith(f"PROXY TCP4 {host} {host} {port} ".encode())


def cloud_policy(*rules: Rule) -> str:
    return json.dumps({"on_tcp_connect": list(rules)})


def test_a_cloud_endpoint_whose_policy_changes(rig: Rig) -> None:
    inner, port = "tcp://changing.internal:1", rig.tcp_port()
    rig.forward(to=rig.two, url=inner)
    led = rule(("forward-internal", {"url": inner}))
    made = rig.api("POST", "/endpoints", {"url": f"tcp://localhost:{port}", "traffic_policy": cloud_policy(led)})
    assert made.status_code == 201, made.text
    url, path = made.json()["url"], f"/endpoints/{made.json()['id']}"
    with rig.dial(url) as stays:
        assert stays.recv(100) == b"HELLO two\n"
        for rules, heard in (([rule(DENY)], b""), ([led], b"HELLO two\n"), ([rule(DENY), led], b"")):
            assert rig.api("PATCH", path, {"traffic_policy": cloud_policy(*rules)}).status_code == 200
            assert rig.hears(url) == heard
            stays.sendall(b"still there")
            assert stays.recv(100) == b"still there"
    assert rig.api("DELETE", path).status_code == 204

    def refuses() -> bool:
        with contextlib.suppress(ConnectionRefusedError), rig.dial(url):
            return False
        return True

    eventually(refuses)  # each of Envoy's workers closes its listener by itself


def test_networks_under_a_name(rig: Rig) -> None:
    group = rig.api("POST", "/ip_policies", {"description": "visitors"}).json()["id"]
    url = rig.forward(rule(("restrict-ips", {"ip_policies": [group]})))
    assert rig.hears(url) == b""
    allowed = {"ip_policy_id": group, "action": "allow", "cidr": "127.0.0.0/8"}
    made = rig.api("POST", "/ip_policy_rules", allowed)
    assert made.status_code == 201, made.text
    assert rig.hears(url) == b"HELLO one\n"
    rig.api("DELETE", f"/ip_policy_rules/{made.json()['id']}")
    assert rig.hears(url) == b""


@pytest.mark.parametrize("ends", [False, True])
def test_a_cloud_endpoint_of_tls(rig: Rig, ends: bool) -> None:
    inner, host = f"tls://cloud{ends}.internal".lower(), f"cloud{ends}.localhost".lower()
    rig.forward(to=rig.two, proto="tls", url=inner)
    rules = [*([rule(("terminate-tls", {}))] if ends else []), rule(("forward-internal", {"url": inner}))]
    made = rig.api("POST", "/endpoints", {"url": f"tls://{host}", "traffic_policy": cloud_policy(*rules)})
    assert made.status_code == 201, made.text
    if ends:
        assert rig.hears(made.json()["url"]) == b"HELLO two\n"
    else:
        known = len(rig.two.visitors)
        with contextlib.suppress(OSError):  # the greeting is no TLS
            rig.hears(made.json()["url"])
        assert len(rig.two.visitors) == known + 1


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ([rule(DENY, when=["false"])], 201),
        ([rule(("log", {"metadata": {"a": 1}}))], 400),
        ([rule(("restrict-ips", {"allow": ["10.0.0.0/8"]}))], 400),
        ([rule(("forward-internal", {"url": "https://inner.internal"}))], 400),
        ([rule(DENY, when=["req.method == 'GET'"])], 400),
    ],
)
def test_what_a_cloud_endpoint_of_tcp_may_have(rig: Rig, rules: list[Rule], status: int) -> None:
    url = f"tcp://localhost:{rig.tcp_port()}"
    made = rig.api("POST", "/endpoints", {"url": url, "traffic_policy": cloud_policy(*rules)})
    assert made.status_code == status, made.text
    if status == 201:
        assert rig.hears(url) == b""  # nothing stands behind it
        rig.api("DELETE", f"/endpoints/{made.json()['id']}")


def test_settings_declare_them_too(rig: Rig) -> None:
    port = rig.tcp_port()
    upstream = f"127.0.0.1:{rig.one.port}"
    inner = {"url": "tcp://declared.internal:1", "upstreams": [upstream]}

    def outer(*rules: Rule) -> dict[str, Any]:
        return {"url": f"tcp://localhost:{port}", "traffic_policy": cloud_policy(*rules)}

    led = rule(("forward-internal", {"url": inner["url"]}))
    rig.declare(inner, outer(led))
    rig.edge.process.send_signal(signal.SIGHUP)
    url = f"tcp://localhost:{port}"
    assert eventually(lambda: rig.hears(url) == b"HELLO one\n")
    with rig.dial(url) as stays:
        assert stays.recv(100)
        rig.declare(inner, outer(rule(DENY), led))
        rig.edge.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: not rig.hears(url))
        stays.sendall(b"still there")
        assert stays.recv(100) == b"still there"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rules": [rule(("custom-response", {"body": "x"}))]}, "custom-response"),
        ({"rules": [rule(DENY, when=["conn.client_ipp == ''"])]}, "client_ipp"),
        ({"rules": [rule(("forward-internal", {"url": "http://inner.internal"}))]}, "leads to tcp or tls"),
        (
            {"rules": [rule(("terminate-tls", {}))], "proto": "tls", "url": "tls://ends.internal"},
            "cannot end at the edge",
        ),
    ],
)
def test_what_agents_are_refused(rig: Rig, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PorticoError, match=words):
        rig.forward(*options.pop("rules"), **options)


def test_a_gate_that_dies_lets_nobody_in_and_comes_back(rig: Rig) -> None:
    open_to = rig.forward(rule(DENY, when=["false"]))
    closed = rig.forward(rule(DENY))
    known = len(rig.one.visitors)
    with rig.dial(open_to) as stays:
        assert stays.recv(100)
        heard: list[bytes] = []
        stop = threading.Event()

        def keep_dialling() -> None:
            while not stop.is_set():
                heard.append(rig.hears(closed))

        steady = threading.Thread(target=keep_dialling)
        steady.start()
        try:
            old = rig.edge.child("gate")
            os.kill(old, signal.SIGKILL)
            assert eventually(lambda: rig.edge.child("gate") != old)
            assert eventually(lambda: rig.hears(open_to)) == b"HELLO one\n"
        finally:
            stop.set()
            steady.join()
        stays.sendall(b"still there")
        assert stays.recv(100) == b"still there"
    assert set(heard) == {b""}
    assert len(rig.one.visitors) >= known + 2
    host = {address for address, _ in rig.one.visitors}
    assert host == {"127.0.0.1"}


def test_a_new_envoy_decides_as_the_old_one_did(rig: Rig) -> None:
    passes, closed = rig.forward(rule(DENY, when=["false"])), rig.forward(rule(DENY))
    within = rig.forward(
        rule(("terminate-tls", {})), rule(DENY, when=["false"]), proto="tls", url="tls://renewed.localhost"
    )
    with rig.dial(within) as stays:
        assert stays.recv(100)
        old = rig.edge.child("envoy")
        # The settings are as they are read, so this means a new Envoy.
        rig.edge.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: rig.edge.child("envoy") != old)
        assert [rig.hears(url) for url in (passes, closed, within)] == [b"HELLO one\n", b"", b"HELLO one\n"]
        stays.sendall(b"still there")
        assert stays.recv(100) == b"still there"
