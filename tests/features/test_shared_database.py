"""Two nodes on one PostgreSQL: what is made on one works on the other, whatever the server does in between."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import portico
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.polling import eventually
from kit.postgres import PASSWORD, Postgres, running_postgres
from kit.service import http_service
from kit.visitor import Visitor
from portico.model.errors import DATABASE_UNUSABLE, ENDPOINT_OFFLINE

SHARED_FILES = ("vault.key", "ca.pem", "ca-key.pem")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of these tests alone, which stop it."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def nodes(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningEdge, RunningEdge]]:
    directories = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    url = server.new_database()
    with contextlib.ExitStack() as stack:
        running = []
        for directory in directories:
            (directory / "edge.yml").write_text(f"database: {url}\n")
            (directory / "edge").mkdir(mode=0o700)
            if running:
                for name in SHARED_FILES:
                    shutil.copy(directories[0] / "edge" / name, directory / "edge" / name)
            flags = ("--config", str(directory / "edge.yml"), "--envoy-concurrency", "1")
            running.append(stack.enter_context(running_edge(directory, *flags)))
        yield running[0], running[1]
        portico.kill()
    for edge in running:
        assert PASSWORD not in edge.log.read_text()


@pytest.fixture
def here(nodes: tuple[RunningEdge, RunningEdge]) -> RunningEdge:
    return nodes[0]


@pytest.fixture
def there(nodes: tuple[RunningEdge, RunningEdge]) -> RunningEdge:
    return nodes[1]


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@pytest.fixture
def key(here: RunningEdge) -> str:
    return (here.data_dir / "api-key").read_text().strip()


class Api:
    """A node's REST API."""

    def __init__(self, edge: RunningEdge, key: str) -> None:
        self._edge = edge
        self._key = key
        self._visitor = Visitor(edge.ca)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = self._visitor.connection(f"https://api.localhost:{self._edge.https_port}")
        sent = {"authorization": f"Bearer {self._key}", "ngrok-version": "2", "content-type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), {**sent, **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status < 300, answer
        return answer


@pytest.fixture
def api(here: RunningEdge, key: str) -> Api:
    """Of the node here: what it changes has to take effect there."""
    return Api(here, key)


def visit(edge: RunningEdge, host: str) -> tuple[int, str]:
    return Visitor(edge.ca).get(f"https://{host}:{edge.https_port}/")


def saying(text: str, *before: dict[str, object]) -> str:
    answer = {"type": "custom-response", "config": {"status_code": 200, "body": text}}
    return json.dumps({"on_http_request": [{"actions": [*before, answer]}]})


def forward(edge: RunningEdge, service: int, token: str) -> portico.Listener:
    return portico.forward(service, authtoken=token, connect_url=edge.connect_url, connect_cas=str(edge.ca))


def sessions(edge: RunningEdge, key: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = Api(edge, key)("GET", "/tunnel_sessions")["tunnel_sessions"]
    return found


def test_a_token_of_one_node_opens_and_closes_sessions_of_the_other(
    there: RunningEdge, api: Api, key: str, service: int
) -> None:
    for path in ("/credentials", "/users"):
        user = (
            {"owner_id": api("POST", "/users", {"name": "Bob", "email": "b@example.com"})["id"]} if "u" in path else {}
        )
        credential = api("POST", "/credentials", user if path == "/users" else {})
        listener = forward(there, service, credential["token"])
        assert Visitor(there.ca).get(listener.url())[0] == 200
        api("DELETE", f"/users/{user['owner_id']}" if user else f"/credentials/{credential['id']}")
        eventually(lambda: sessions(there, key) == [])
        listener.close()
    with pytest.raises(portico.PorticoError, match="not known"):
        forward(there, service, credential["token"])


def test_a_cloud_endpoint_is_made_changed_and_removed_everywhere(there: RunningEdge, api: Api) -> None:
    body = {"url": "https://cloud.example.com", "type": "cloud", "traffic_policy": saying("first")}
    made = api("POST", "/endpoints", body)
    eventually(lambda: visit(there, "cloud.example.com") == (200, "first"))
    api("PATCH", f"/endpoints/{made['id']}", {"traffic_policy": saying("second")})
    eventually(lambda: visit(there, "cloud.example.com") == (200, "second"))
    api("DELETE", f"/endpoints/{made['id']}")
    eventually(lambda: visit(there, "cloud.example.com")[0] == 404)


def test_what_policies_read_follows(there: RunningEdge, api: Api) -> None:
    policy = api("POST", "/ip_policies", {})["id"]
    rule = {"ip_policy_id": policy, "cidr": "127.0.0.1/32", "action": "allow"}
    vault = api("POST", "/vaults", {"name": "v"})["id"]
    secret = api("POST", "/vault_secrets", {"vault_id": vault, "name": "s", "value": "old"})["id"]
    restrict = {"type": "restrict-ips", "config": {"ip_policies": [policy]}}
    text = saying("${secrets.get('v', 's')}", restrict)
    body = {"url": "https://data.example.com", "type": "cloud", "traffic_policy": text}
    endpoint = api("POST", "/endpoints", body)["id"]
    eventually(lambda: visit(there, "data.example.com")[0] == 403)
    ident = api("POST", "/ip_policy_rules", rule)["id"]
    eventually(lambda: visit(there, "data.example.com") == (200, "old"))
    api("PATCH", f"/vault_secrets/{secret}", {"value": "new"})
    eventually(lambda: visit(there, "data.example.com") == (200, "new"))
    api("DELETE", f"/ip_policy_rules/{ident}")
    eventually(lambda: visit(there, "data.example.com")[0] == 403)
    api("DELETE", f"/endpoints/{endpoint}")


def test_certificates_and_reserved_names_follow(there: RunningEdge, api: Api, tmp_path: Path) -> None:
    domain = api("POST", "/reserved_domains", {"domain": "shop.example.com"})
    eventually(lambda: str(ENDPOINT_OFFLINE.number) in visit(there, "shop.example.com")[1])
    certificate, secret = KeyPairs(tmp_path, "Owner CA").issue("shop.example.com")
    body = {"certificate_pem": certificate.read_text(), "private_key_pem": secret.read_text()}
    upload = api("POST", "/tls_certificates", body)
    eventually(lambda: "Owner CA" in issuer(there, "shop.example.com"))
    api("DELETE", f"/tls_certificates/{upload['id']}")
    eventually(lambda: "Owner CA" not in issuer(there, "shop.example.com"))
    api("DELETE", f"/reserved_domains/{domain['id']}")


def issuer(edge: RunningEdge, name: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https_port}", "-servername", name]
    shown = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False).stdout
    return next(line for line in shown.splitlines() if line.startswith("issuer="))


def test_one_create_that_is_asked_of_both_nodes_is_done_once(nodes: tuple[RunningEdge, RunningEdge], key: str) -> None:
    def create(number: int) -> tuple[int, Any]:
        api = Api(nodes[number % 2], key)
        return api.ask("POST", "/credentials", {"description": "once"}, **{"idempotency-key": "one"})

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert {status for status, _ in answers} == {201}
    assert len({answer["token"] for _, answer in answers}) == 1
    assert len({answer["id"] for _, answer in answers}) == 1


def test_visitors_do_not_notice_that_the_server_went_and_came_back(
    nodes: tuple[RunningEdge, RunningEdge], server: Postgres, api: Api, key: str, service: int
) -> None:
    here, there = nodes
    token = api("POST", "/credentials", {})
    listener = forward(there, service, token["token"])
    url = listener.url()
    assert Visitor(there.ca).get(url)[0] == 200
    body = {"url": "https://stays.example.com", "type": "cloud", "traffic_policy": saying("here")}
    api("POST", "/endpoints", body)
    eventually(lambda: visit(there, "stays.example.com") == (200, "here"))
    server.stop()
    try:
        for edge in nodes:
            status, answer = Api(edge, key).ask("GET", "/credentials")
            assert (status, answer["error_code"]) == (503, str(DATABASE_UNUSABLE))
            assert str(server.port) not in json.dumps(answer)
            assert visit(edge, "stays.example.com") == (200, "here")
        old = there.child("control")
        os.kill(old, signal.SIGKILL)
        eventually(lambda: there.child("control") != old)
        assert visit(there, "stays.example.com") == (200, "here")
        assert Visitor(there.ca).get(url)[0] == 200
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(forward, here, service, token["token"])
            server.start()
            second = waiting.result(60)
        assert Visitor(here.ca).get(second.url())[0] == 200
    finally:
        if server.process is None:
            server.start()
    eventually(lambda: Api(there, key).ask("GET", "/credentials")[0] == 200)
    made = api("POST", "/endpoints", {**body, "url": "https://later.example.com"})
    eventually(lambda: visit(there, "later.example.com") == (200, "here"))
    api("DELETE", f"/endpoints/{made['id']}")
    eventually(lambda: visit(there, "later.example.com")[0] == 404)
    assert Visitor(there.ca).get(url)[0] == 200
    api("DELETE", f"/credentials/{token['id']}")
    eventually(lambda: sessions(here, key) == sessions(there, key) == [])


def test_an_edge_that_starts_before_its_database_waits_for_it(server: Postgres, tmp_path: Path) -> None:
    (tmp_path / "edge.yml").write_text(f"database: {server.new_database()}\n")
    server.stop()

    def start_late() -> None:
        try:
            eventually(lambda: "cannot use the PostgreSQL database" in (tmp_path / "edge.log").read_text())
        finally:
            server.start()

    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(start_late)
        with running_edge(tmp_path, "--config", str(tmp_path / "edge.yml"), "--envoy-concurrency", "1") as edge:
            late.result()
            assert visit(edge, "nobody.localhost")[0] == 404
    assert PASSWORD not in (tmp_path / "edge.log").read_text()
