"""Endpoints that the settings declare: services that the edge reaches itself, alone and beside agents."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

import portico
from kit.client_certificates import VisitorAuthority, written
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.openssl import s_client
from kit.polling import eventually
from kit.ports import free_port, free_port_range
from kit.recorder import Recorder, recording_upstream
from kit.service import http_service
from kit.visit import visit

V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@dataclass
class Declared:
    """The edge and what it reaches."""

    edge: RunningEdge
    first: Recorder
    second: Recorder
    raw: Recorder
    tcp: tuple[int, int]
    visitors: VisitorAuthority

    def url(self, label: str) -> str:
        """An https endpoint's."""
        return f"https://{label}.localhost:{self.edge.https_port}"


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    directory = tmp_path_factory.mktemp("declared")
    service_ca, visitors = KeyPairs(directory, "Service CA"), VisitorAuthority("visitors")
    (directory / "visitors.pem").write_text(visitors.pem)
    certificate, key = KeyPairs(directory, "Own CA").issue("own.localhost")
    with contextlib.ExitStack() as stack:
        first, second, raw = (stack.enter_context(recording_upstream()) for _ in range(3))
        secure = stack.enter_context(http_service(pair=service_ca.issue("service.test")))
        passed = stack.enter_context(http_service(pair=KeyPairs(directory, "Pass CA").issue("pass.localhost")))
        tcp = free_port_range(3)
        taken = stack.enter_context(socket.create_server(("127.0.0.1", tcp[0] + 1))).getsockname()[1]
        trusted = {"url": f"https://127.0.0.1:{secure}", "ca_file": "Service CA.ca.pem", "server_name": "service.test"}
        endpoints = [
            {"url": "https://plain.localhost", "upstreams": [f"http://127.0.0.1:{first.port}"], "host_header": "inner"},
            {"url": "http://plain.localhost", "upstreams": [f"127.0.0.1:{first.port}"]},
            {"url": "https://secure.localhost", "upstreams": [trusted]},
            {"url": "https://other.localhost", "upstreams": [{**trusted, "server_name": "else.test"}]},
            {"url": "https://system.localhost", "upstreams": [f"https://127.0.0.1:{secure}"]},
            {"url": "https://named.localhost", "upstreams": [f"http://localhost:{first.port}"]},
            {"url": "https://nowhere.localhost", "upstreams": ["http://no-such-name.invalid:80"]},
            {
                "url": "https://weighted.localhost",
                "upstreams": [
                    {"url": f"http://127.0.0.1:{first.port}", "weight": 9},
                    f"http://localhost:{second.port}",
                    f"http://127.0.0.1:{free_port()}",
                ],
            },
            {"url": "https://pooled.localhost", "upstreams": [trusted, f"127.0.0.1:{first.port}"], "pooling": True},
            {"url": "https://alone.localhost", "upstreams": [f"127.0.0.1:{first.port}"]},
            {
                "url": "https://own.localhost",
                "upstreams": [f"127.0.0.1:{first.port}"],
                "certificate_file": str(certificate),
                "key_file": str(key),
                "client_ca_file": "visitors.pem",
            },
            {"url": "tls://pass.localhost", "upstreams": [f"127.0.0.1:{passed}"]},
            {"url": "tls://ended.localhost", "upstreams": [f"127.0.0.1:{raw.port}"], "terminate_at": "edge"},
            {"url": f"tcp://localhost:{taken}", "upstreams": ["127.0.0.1:1"]},
            {"url": f"tcp://localhost:{tcp[0]}", "upstreams": [f"localhost:{raw.port}"]},
            {"url": f"tcp://localhost:{tcp[1]}", "upstreams": [f"127.0.0.1:{raw.port}"], "proxy_protocol": True},
        ]
        config = directory / "edge.yml"
        config.write_text(yaml.safe_dump({"endpoints": endpoints}))
        flags = ("--config", str(config), "--tcp-ports", f"{tcp[0]}-{tcp[1]}")
        edge = stack.enter_context(running_edge(directory, *flags))
        yield Declared(edge, first, second, raw, tcp, visitors)
        portico.kill()


def test_plain_and_with_tls(declared: Declared) -> None:
    edge = declared.edge
    answer = visit(edge, declared.url("plain"), "/a")
    assert answer.text.startswith("GET /a HTTP/1.1\r\nhost: inner\r\n")
    assert "x-forwarded-host: plain.localhost:" in answer.text
    assert visit(edge, f"http://plain.localhost:{edge.http_port}").status_code == 200
    assert visit(edge, declared.url("secure"), "/b").text == "served /b\n"


def test_a_certificate_for_another_name_or_of_another_authority_is_refused(declared: Declared) -> None:
    for label in ("other", "system"):
        answer = visit(declared.edge, declared.url(label))
        assert (answer.status_code, answer.headers["portico-error-code"]) == (502, "PORTICO_20022"), label


def test_names(declared: Declared) -> None:
    assert visit(declared.edge, declared.url("named")).status_code == 200
    offline = visit(declared.edge, declared.url("nowhere"))
    assert (offline.status_code, offline.headers["ngrok-error-code"]) == (404, "ERR_NGROK_3200")
    # A resolver may need its time to say that there is none.
    eventually(lambda: '"name_of_upstream": "no-such-name.invalid"' in declared.edge.log.read_text())


def test_a_port_that_is_taken_leaves_the_others_alone(declared: Declared) -> None:
    assert f'"url": "tcp://localhost:{declared.tcp[0] + 1}"' in declared.edge.log.read_text()


def test_weights_and_a_dead_one_that_costs_no_request(declared: Declared) -> None:
    before = declared.first.received.count(b"GET /weighted"), declared.second.received.count(b"GET /weighted")
    assert {visit(declared.edge, declared.url("weighted"), "/weighted").status_code for _ in range(60)} == {200}
    first = declared.first.received.count(b"GET /weighted") - before[0]
    second = declared.second.received.count(b"GET /weighted") - before[1]
    assert first + second == 60
    assert first > second > 0


def session(declared: Declared) -> dict[str, str]:
    edge = declared.edge
    return {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}


def test_an_agent_joins_where_the_settings_let_it(declared: Declared) -> None:
    def tellers() -> set[str]:
        answers = [visit(declared.edge, declared.url("pooled"), "/pooled").text for _ in range(60)]
        return {"agent" if "/agent" in answer else "direct" if "GET" in answer else "secure" for answer in answers}

    assert tellers() == {"direct", "secure"}
    with recording_upstream() as own:
        listener = portico.forward(own.port, domain="pooled.localhost", pooling_enabled=True, **session(declared))
        assert {"direct", "secure"} <= tellers()
        assert own.connections > 0
        listener.close()
        seen = own.connections
        assert tellers() == {"direct", "secure"}
        assert own.connections == seen
    with pytest.raises(Exception, match="already online"):
        portico.forward(1, domain="alone.localhost", pooling_enabled=True, **session(declared))
    portico.kill()


def test_own_certificate_and_visitors_who_show_theirs(declared: Declared, tmp_path: Path) -> None:
    edge, own = declared.edge, declared.edge.data_dir.parent / "Own CA.ca.pem"
    refused = s_client(edge.https_port, "own.localhost", own)
    certificate, key = written(declared.visitors.issue(), tmp_path)
    entered = s_client(edge.https_port, "own.localhost", own, "-cert", str(certificate), "-key", str(key))
    assert refused.alert is not None
    assert "HTTP/1.1 200 OK" in entered.text
    assert "Verify return code: 0" in entered.text
    assert visit(edge, declared.url("plain"), headers={"host": "own.localhost"}).status_code == 421


def test_tls_passed_through_or_ended(declared: Declared) -> None:
    edge = declared.edge
    passed = s_client(edge.https_port, "pass.localhost", edge.data_dir.parent / "Pass CA.ca.pem")
    assert "Verify return code: 0" in passed.text
    assert "served /" in passed.text
    assert "HTTP/1.1 200 OK" in s_client(edge.https_port, "ended.localhost", edge.ca).text


def test_tcp_with_the_proxy_header_only_where_it_is_asked_for(declared: Declared) -> None:
    for port, header in zip(declared.tcp, (False, True), strict=True):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as visitor:
            visitor.sendall(b"GET /%d HTTP/1.1\r\nconnection: close\r\n\r\n" % port)
            assert visitor.recv(100).startswith(b"HTTP/1.1 200")
            eventually(lambda wanted=b"GET /%d" % port: wanted in declared.raw.received)
        assert (V2 in declared.raw.received) is header


def test_what_is_declared_outlives_control_and_is_no_agents(declared: Declared) -> None:
    edge = declared.edge
    control = edge.child("control")
    os.kill(control, signal.SIGKILL)
    assert visit(edge, declared.url("plain")).status_code == 200
    eventually(lambda: edge.child("control") != control and httpx.get(f"{edge.admin}/readyz").status_code == 200)
    assert visit(edge, declared.url("plain")).status_code == 200
    key = (edge.data_dir / "api-key").read_text().strip()
    api, headers = f"https://api.localhost:{edge.https_port}", {"authorization": f"Bearer {key}", "ngrok-version": "2"}
    shown = visit(edge, api, "/endpoints", headers=headers).json()["endpoints"]
    (plain,) = [one for one in shown if one["public_url"] == declared.url("plain")]
    assert (plain["tunnel"], plain["tunnel_session"]) == (None, None)
    assert plain["upstream_url"] == f"http://127.0.0.1:{declared.first.port}"
    assert visit(edge, api, "/tunnels", headers=headers).json()["tunnels"] == []
    eventually(lambda: visit(edge, api, "/tunnel_sessions", headers=headers).json()["tunnel_sessions"] == [])
