"""One name before several services, as the settings of `portico edge` declare it: agents by path, and upstreams."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

import portico
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.recorder import recording_upstream
from kit.service import http_service
from kit.visit import trust, visit


@dataclass
class Door:
    """An edge with a name before several services."""

    edge: RunningEdge

    def url(self, label: str) -> str:
        return f"https://{label}.localhost:{self.edge.https_port}"

    def get(self, path: str, label: str = "music") -> httpx.Response:
        return visit(self.edge, self.url(label), path)

    @property
    def session(self) -> dict[str, str]:
        return {
            "connect_url": self.edge.connect_url,
            "connect_cas": str(self.edge.ca),
            "authtoken": self.edge.authtoken,
        }


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory = tmp_path_factory.mktemp("routing")
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(http_service())
        search, playlists = "https://search.localhost", "https://playlists.localhost"
        routes = [
            {"name": "search", "match": {"path_prefix": "/search"}, "backends": [{"endpoint": search}]},
            {"match": {"path_prefix": "/playlists"}, "backends": [{"endpoint": playlists}]},
            {"match": {"path": "/slow"}, "backends": [{"endpoint": playlists}], "timeout": 0.5},
            {
                "match": {"path_prefix": "/files"},
                "backends": [f"http://localhost:{direct}"],
                "rewrite": {"path_prefix": "/"},
            },
            {"match": {"path": "/old"}, "redirect": {"path": "/search", "status": 301}},
            {"match": {"path": "/robots.txt"}, "answer": {"status": 200, "body": "none\n"}},
        ]
        rest = {"url": "https://rest.localhost", "upstreams": [f"http://127.0.0.1:{direct}"], "routes": routes[:1]}
        endpoints = [{"url": "https://music.localhost", "routes": routes}, rest]
        config = directory / "edge.yml"
        config.write_text(yaml.safe_dump({"endpoints": endpoints}))
        yield Door(stack.enter_context(running_edge(directory, "--config", str(config))))
        portico.kill()


def test_what_needs_no_agent(door: Door) -> None:
    assert door.get("/files/a?b").text == "served /a?b\n"
    assert door.get("/files").text == "served /\n"
    moved = door.get("/old")
    assert (moved.status_code, moved.headers["location"]) == (301, f"{door.url('music')}/search")
    assert door.get("/robots.txt").text == "none\n"
    missed = door.get("/filesystem")
    assert (missed.status_code, missed.headers["portico-error-code"]) == (404, "PORTICO_20030")
    assert door.get("/filesystem", "rest").text == "served /filesystem\n"


def test_agents_come_and_go(door: Door) -> None:
    offline = door.get("/search/x")
    assert (offline.status_code, offline.headers["portico-error-code"]) == (503, "PORTICO_20031")
    with recording_upstream() as search, http_service() as playlists:
        one = portico.forward(search.port, domain="search.localhost", **door.session)
        two = portico.forward(playlists, domain="playlists.localhost", **door.session)
        # At once: a bind is answered when all that leads to it is served.
        assert door.get("/search/x").text.startswith("GET /search/x HTTP/1.1\r\n")
        assert door.get("/search/x", "rest").text.startswith("GET /search/x HTTP/1.1\r\n")
        assert door.get("/playlists").text == "served /playlists\n"
        assert visit(door.edge, door.url("search"), "/own").text.startswith("GET /own")
        one.close()
        assert door.get("/search/x").status_code == 503
        assert door.get("/playlists").status_code == 200
        two.close()


def test_a_limit_of_time(door: Door) -> None:
    with http_service() as playlists:
        listener = portico.forward(playlists, domain="playlists.localhost", **door.session)
        late = door.get("/slow?20")
        assert (late.status_code, late.headers["portico-error-code"]) == (504, "PORTICO_20021")
        listener.close()


def test_a_pool_changes_under_load(door: Door) -> None:
    """Agents join and leave a name that only a route is asked for; no request fails."""
    outcomes: Counter[int] = Counter()
    stop = threading.Event()

    def load() -> None:
        url = f"https://127.0.0.1:{door.edge.https_port}/search/x"
        headers, sni = {"host": "music.localhost"}, {"sni_hostname": "music.localhost"}
        with httpx.Client(verify=trust(door.edge), timeout=30, trust_env=False) as client:
            while not stop.is_set():
                outcomes[client.get(url, headers=headers, extensions=sni).status_code] += 1

    with http_service() as service:
        pooled = {"domain": "search.localhost", "pooling_enabled": True, **door.session}
        first = portico.forward(service, **pooled)
        visitors = [threading.Thread(target=load) for _ in range(2)]
        for visitor in visitors:
            visitor.start()
        for _ in range(5):
            second = portico.forward(service, session_metadata="second", **pooled)
            first.close()
            first = second
        eventually(lambda: outcomes.total() > 50)
        stop.set()
        for visitor in visitors:
            visitor.join()
        first.close()
    assert set(outcomes) == {200}


def test_routes_outlive_control(door: Door) -> None:
    with http_service() as service:
        listener = portico.forward(service, domain="search.localhost", **door.session)
        control = door.edge.child("control")
        os.kill(control, signal.SIGKILL)
        assert door.get("/search").text == "served /search\n"
        eventually(
            lambda: door.edge.child("control") != control and httpx.get(f"{door.edge.admin}/readyz").status_code == 200
        )
        assert door.get("/search").text == "served /search\n"
        listener.close()
        eventually(lambda: door.get("/search").status_code == 503)


def test_settings_that_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "edge.yml"
    config.write_text("endpoints:\n- url: https://a.localhost\n  routes:\n  - match: {path_regex: '('}\n")
    with (
        pytest.raises(RuntimeError, match=r"edge.yml:4: .*is no RE2 regular expression"),
        running_edge(tmp_path, "--config", str(config)),
    ):
        pass


def test_routes_change_while_visitors_come(tmp_path: Path) -> None:
    config = tmp_path / "edge.yml"

    def write(*routes: dict[str, object]) -> None:
        config.write_text(yaml.safe_dump({"endpoints": [{"url": "https://door.localhost", "routes": list(routes)}]}))

    with http_service() as one, http_service() as two:
        kept = {"match": {"path_prefix": "/kept"}, "backends": [f"http://127.0.0.1:{one}"]}
        versions = [
            {"match": {"path": "/version"}, "answer": {"status": 200, "body": str(number)}} for number in range(4)
        ]
        shares = {"match": {"path_prefix": "/"}, "backends": [f"http://127.0.0.1:{port}" for port in (one, two)]}
        write(kept, versions[0])
        with running_edge(tmp_path, "--config", str(config)) as edge:
            door = Door(edge)
            outcomes: Counter[int] = Counter()
            stop = threading.Event()

            def load() -> None:
                while not stop.is_set():
                    outcomes[door.get("/kept/x", "door").status_code] += 1

            visitor = threading.Thread(target=load)
            visitor.start()
            try:
                for number in range(1, 4):
                    write(*((kept, versions[number]) if number % 2 else (versions[number], shares)))
                    edge.process.send_signal(signal.SIGHUP)
                    eventually(lambda wanted=str(number): door.get("/version", "door").text == wanted)
            finally:
                stop.set()
                visitor.join()
            assert set(outcomes) == {200}
            assert door.get("/other", "door").status_code == 404
