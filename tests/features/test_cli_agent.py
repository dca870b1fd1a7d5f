"""`portico http`, `tls`, `tcp` and `start` against a real edge: what they print works, and nothing is left behind."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.cli import COMMAND, LATER, PATIENCE, Terminal, running_agent
from kit.curl import curl
from kit.edge import RunningEdge
from kit.polling import eventually
from kit.service import answering_service
from kit.visit import visit


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with answering_service(lambda _: b"hello from the upstream") as port:
        yield str(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_url_that_is_logged_works_until_the_agent_is_told_to_stop(
    edge: RunningEdge, upstream: str, number: int
) -> None:
    with running_agent(edge, "http", upstream) as agent:
        url = agent.url()
        assert url.startswith("https://")
        assert curl(url, edge.ca).body == "hello from the upstream"
        assert agent.stop(number) == 0
        assert agent.stderr() == ""
        assert eventually(lambda: curl(url, edge.ca).status == 404)


def test_the_endpoint_is_up_before_anything_large_is_loaded(edge: RunningEdge, upstream: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], "http", upstream, "--log", "stderr"]
    environment = {**edge.agent_environment, "XDG_CONFIG_HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as agent:
        assert agent.stderr is not None
        loaded = set()
        for line in agent.stderr:
            if "endpoint online" in line:
                break
            loaded.add(line.rpartition("|")[2].strip())
        agent.kill()
    assert "portico.agent.session" in loaded
    assert not LATER & loaded


def test_tcp(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "tcp", upstream) as agent:
        assert curl(agent.url(), edge.ca).body == "hello from the upstream"
        assert agent.stop() == 0


def test_tls_that_ends_at_the_edge_under_an_automatic_certificate(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "tls", upstream, "--terminate-at", "edge", "--url", "cli-tls.localhost") as agent:
        assert curl(agent.url(), edge.ca, "--http1.1").body == "hello from the upstream"
        assert agent.stop() == 0
        assert agent.stderr() == ""


def test_a_chosen_name_by_the_old_flag(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "http", upstream, "--domain", "cli-name.localhost") as agent:
        url = agent.url()
        assert url.startswith("https://cli-name.localhost")
        assert curl(url, edge.ca).status == 200
        with running_agent(edge, "http", upstream, "--domain", "cli-name.localhost") as second:
            assert second.process.wait(PATIENCE) == 1
            assert "PORTICO_334" in second.stderr()
        assert agent.stop() == 0
        assert "--domain is deprecated; use --url" in agent.stderr()


@pytest.mark.parametrize("version", [2, 3])
def test_start_from_a_file(edge: RunningEdge, upstream: str, version: int, tmp_path: Path) -> None:
    file = tmp_path / "portico.yml"
    if version == 2:
        file.write_text(
            f"version: 2\nserver_addr: {edge.connect_url}\nroot_cas: {edge.ca}\nauthtoken: {edge.authtoken}\n"
            f"tunnels:\n  web: {{proto: http, addr: {upstream}, schemes: [http, https]}}\n"
            f"  db: {{proto: tcp, addr: {upstream}}}\n"
        )
    else:
        file.write_text(
            f"version: 3\nagent:\n  connect_url: {edge.connect_url}\n  connect_cas: {edge.ca}\n"
            f"  authtoken: {edge.authtoken}\nendpoints:\n"
            f"  - {{name: web, url: 'http://', upstream: {{url: {upstream}}}}}\n"
            f"  - {{name: sec, upstream: {{url: {upstream}}}}}\n"
            f"  - {{name: db, url: 'tcp://', upstream: {{url: {upstream}}}}}\n"
        )
    nothing = dict.fromkeys(("PORTICO_AUTHTOKEN", "PORTICO_CONNECT_URL", "PORTICO_CONNECT_CAS"), "")
    with running_agent(edge, "start", "--all", "--config", str(file), **nothing) as agent:
        urls = [agent.url() for _ in range(3)]
        assert sorted(url.partition(":")[0] for url in urls) == ["http", "https", "tcp"]
        assert [curl(url, edge.ca).body for url in urls] == ["hello from the upstream"] * 3
        assert agent.stop() == 0


def asked(url: str, method: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_an_agent_whose_endpoint_is_closed_over_the_local_interface_goes_on(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "http", upstream) as agent:
        address = agent.record("address")["address"]
        assert asked(f"{address}/api/tunnels/command_line", "DELETE")[0] == 204
        status, tunnel = asked(f"{address}/api/tunnels", "POST", {"name": "b", "proto": "http", "addr": upstream})
        assert status == 201
        assert curl(str(tunnel["public_url"]), edge.ca).body == "hello from the upstream"
        assert agent.stop() == 0
        assert agent.stderr() == ""


def test_the_edge_lets_an_agent_start_anew(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "http", upstream, "--url", "cli-restart.localhost", "--metadata", "again") as agent:
        session = agent.record("session")["session"]
        url = agent.url()
        assert command(edge, session, "restart") in (200, 204)
        assert agent.record("session")["session"] != session
        assert agent.url() == url
        assert curl(url, edge.ca).body == "hello from the upstream"
        assert "closing" in [record["event"] for record in agent.records]
        assert agent.stop() == 0
        assert agent.stderr() == ""


def test_the_edge_stops_an_agent_that_lets_it(edge: RunningEdge, upstream: str, tmp_path: Path) -> None:
    with running_agent(edge, "http", upstream) as agent:
        assert command(edge, agent.record("session")["session"], "stop") in (200, 204)
        assert agent.process.wait(PATIENCE) == 0
    (tmp_path / "portico.yml").write_text("version: 3\nagent: {remote_management: false}\n")
    with running_agent(edge, "http", upstream, "--config", str(tmp_path / "portico.yml")) as agent:
        assert command(edge, agent.record("session")["session"], "stop") == 409
        assert agent.stop() == 0


def command(edge: RunningEdge, session: str, word: str) -> int:
    """The status of the REST API's answer."""
    key = (edge.data_dir / "api-key").read_text().strip()
    headers = {"authorization": f"Bearer {key}", "ngrok-version": "2"}
    url = f"https://api.{edge.facts['domain']}:{edge.https_port}"
    listed = visit(edge, url, "/tunnel_sessions", headers=headers).json()["tunnel_sessions"]
    (known,) = [one["id"] for one in listed if one["id"].endswith(session)]
    return visit(edge, url, f"/tunnel_sessions/{known}/{word}", method="POST", headers=headers, json={}).status_code


def test_start_none_and_open_through_the_local_interface(edge: RunningEdge, upstream: str) -> None:
    with running_agent(edge, "start", "--none") as agent:
        address = agent.record("address")["address"]

        status, tunnel = asked(
            f"{address}/api/tunnels", "POST", {"name": "web", "proto": "http", "addr": int(upstream)}
        )
        assert status == 201
        assert curl(str(tunnel["public_url"]), edge.ca).body == "hello from the upstream"
        status, problem = asked(f"{address}/api/tunnels", "POST", {"name": "bad", "proto": "http", "adr": 1})
        assert status >= 400
        assert "did you mean addr" in json.dumps(problem)
        entry = {"name": "web", "upstream": {"url": "1"}}
        status, endpoint = asked(f"{address}/api/endpoints", "PUT", entry)
        assert (status, endpoint["name"]) == (200, "web")
        assert curl(str(endpoint["url"]), edge.ca).status == 502
        assert asked(f"{address}/api/tunnels/web", "DELETE")[0] == 204
        assert curl(str(endpoint["url"]), edge.ca).status == 404
        assert agent.stop() == 0


def test_the_web_interface_can_be_switched_off(edge: RunningEdge, upstream: str, tmp_path: Path) -> None:
    (tmp_path / "portico.yml").write_text("version: 3\nagent: {web_addr: false}\n")
    with running_agent(edge, "http", upstream, "--config", str(tmp_path / "portico.yml")) as agent:
        assert curl(agent.url(), edge.ca).status == 200
        assert agent.stop() == 0
        assert agent.process.stdout is not None
        assert "web interface" not in agent.process.stdout.read()


def test_an_upstream_that_is_down(edge: RunningEdge) -> None:
    with running_agent(edge, "http", "1") as agent:
        answer = curl(agent.url(), edge.ca)
        assert (answer.status, answer.error_code) == (502, "ERR_NGROK_8012")
        assert agent.stop() == 0


def test_a_wrong_authtoken_is_said_at_once(edge: RunningEdge, upstream: str) -> None:
    for verb in (["http", upstream], ["start", "--none"]):
        with running_agent(edge, *verb, "--authtoken", "not-the-token-of-this-edge") as agent:
            assert agent.process.wait(PATIENCE) == 1
            assert "PORTICO_107" in agent.stderr()


def test_start_waits_for_an_edge_that_is_not_there_yet(edge: RunningEdge) -> None:
    with running_agent(edge, "start", "--none", "--connect-url", "127.0.0.1:1") as agent:
        assert "connection refused" in agent.record("reason")["reason"]
        assert agent.stop(signal.SIGTERM) == 0


def test_diagnose(edge: RunningEdge, tmp_path: Path) -> None:
    def diagnosed(**environment: str) -> tuple[int, list[tuple[str, bool]]]:
        report = tmp_path / "report.json"
        done = subprocess.run(
            [*COMMAND, "diagnose", "-w", str(report)],
            capture_output=True,
            text=True,
            env={**edge.agent_environment, "XDG_CONFIG_HOME": str(tmp_path), **environment},
            check=False,
        )
        text = report.read_text()
        assert edge.authtoken not in text + done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode, [(step["name"], step["ok"]) for step in json.loads(text)["steps"]]

    names = ["configuration", "name", "connection", "certificate", "session", "latency"]
    assert diagnosed() == (0, [(name, True) for name in names])
    port = edge.connect_url.rpartition(":")[2]
    http_port = str(edge.http_port)
    for failing, environment in {
        "configuration": {"PORTICO_AUTHTOKEN": ""},
        "name": {"PORTICO_CONNECT_URL": "nobody.invalid:443"},
        "connection": {"PORTICO_CONNECT_URL": "127.0.0.1:1"},
        "certificate": {"PORTICO_CONNECT_CAS": "host"},
        "session": {"PORTICO_AUTHTOKEN": "not-the-token-of-this-edge"},
    }.items():
        tried = names[: names.index(failing) + 1]
        assert diagnosed(**environment) == (1, [(name, name != failing) for name in tried])
    assert diagnosed(PORTICO_CONNECT_URL=f"127.0.0.1:{http_port}")[1][-1] == ("certificate", False)
    assert diagnosed(PORTICO_CONNECT_URL=f"127.0.0.1:{port}")[0] == 0


@pytest.fixture
def terminal(edge: RunningEdge, upstream: str, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    columns, rows = request.param
    made = Terminal(edge, "http", upstream, "--url", f"cli-screen-{columns}.localhost", columns=columns, rows=rows)
    yield made
    made.close()


@pytest.mark.parametrize("terminal", [(80, 24), (120, 40)], indirect=True)
def test_the_screen_lives_and_gives_the_terminal_back(terminal: Terminal, edge: RunningEdge, upstream: str) -> None:
    first = terminal.until("Forwarding")
    assert "\x1b[?1049h" in first  # the other screen
    assert "online" in terminal.text
    terminal.until("Web Interface")
    columns = 80 if "cli-screen-80" in terminal.text else 120
    url = f"https://cli-screen-{columns}.localhost:{edge.https_port}"
    assert curl(f"{url}/seen", edge.ca).status == 200
    terminal.until("200 OK")
    assert "/seen" in terminal.text
    assert terminal.attributes_now() != terminal.attributes  # no echo while it is shown
    terminal.resize(60, 12)
    terminal.until("…")
    terminal.press(b"typed\x03")
    terminal.until("\x1b[?1049l")
    assert terminal.process.wait(PATIENCE) == 0
    terminal.drain()
    assert terminal.attributes_now() == terminal.attributes
    assert "\x1b[?25h" in terminal.text  # the cursor
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("terminal", [(81, 24)], indirect=True)
def test_the_screen_is_given_back_when_it_ends_with_an_error(
    terminal: Terminal, edge: RunningEdge, upstream: str
) -> None:
    terminal.until("Forwarding")
    second = Terminal(edge, "http", upstream, "--url", "cli-screen-81.localhost")
    try:
        second.until("PORTICO_334")
        assert second.process.wait(PATIENCE) == 1
        second.drain()
        assert second.attributes_now() == second.attributes
        assert "\x1b[?1049l" in second.text
    finally:
        second.close()
