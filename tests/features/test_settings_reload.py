"""SIGHUP: what the settings declare is taken over while visitors come."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from kit.edge import running_edge
from kit.polling import eventually
from kit.recorder import Recorder, recording_upstream
from kit.visit import visit


def test_endpoints_change_while_visitors_come(tmp_path: Path) -> None:
    config = tmp_path / "edge.yml"

    def write(*endpoints: dict[str, Any], **more: object) -> None:
        config.write_text(yaml.safe_dump({"endpoints": list(endpoints), **more}))

    def served(host: str, *upstreams: Recorder, **more: object) -> dict[str, Any]:
        listed = [f"http://localhost:{upstream.port}" for upstream in upstreams]
        return {"url": f"https://{host}.localhost", "upstreams": listed, **more}

    with recording_upstream() as first, recording_upstream() as second:
        write(served("steady", first), served("moving", first))
        with running_edge(tmp_path, "--config", str(config)) as edge:

            def get(host: str, path: str = "/") -> int:
                return visit(edge, f"https://{host}.localhost:{edge.https_port}", path).status_code

            def reload(then: Callable[[], bool]) -> None:
                edge.process.send_signal(signal.SIGHUP)
                eventually(then)

            statuses: list[int] = []
            stop = threading.Event()

            def keep_visiting() -> None:
                while not stop.is_set():
                    statuses.append(get("steady"))
                    statuses.append(get("moving"))

            envoy = eventually(lambda: edge.child("envoy"))
            steady = threading.Thread(target=keep_visiting)
            steady.start()
            try:
                check = {"path": "/health", "interval": 0.2, "idle_interval": 0.2}
                write(served("steady", first), served("moving", second, health_check=check), served("new", second))
                reload(lambda: get("new") == 200)
                eventually(lambda: b"GET /health " in second.received)
                assert get("moving", "/moved") == 200
                eventually(lambda: b"GET /moved " in second.received)
                assert b"GET /moved " not in first.received
                seen = len(statuses)
                eventually(lambda: len(statuses) > seen + 10)
            finally:
                stop.set()
                steady.join()
            assert set(statuses) == {200}

            write(served("steady", first), served("new", second, limits={"requests": "many"}))
            reload(lambda: "the settings are not taken over" in edge.log.read_text())
            assert "limits.requests" in edge.log.read_text()
            assert get("moving") == 200
            write(served("steady", first, health_check=check), max_endpoints=5)
            reload(lambda: get("new") == 404)
            assert '"settings": ["max_endpoints"]' in edge.log.read_text()
            assert edge.child("envoy") == envoy
            # Nothing has changed now: it is a new Envoy that is wanted.
            reload(lambda: edge.child("envoy") != envoy)
            assert get("steady") == 200
            # What has a past of its own outlives control, too, and changes afterwards.
            control = edge.child("control")
            os.kill(control, signal.SIGKILL)
            eventually(lambda: edge.child("control") != control)
            assert get("steady") == 200
            write(served("steady", second, health_check=check), max_endpoints=5)
            reload(lambda: get("steady", "/at-last") == 200 and b"GET /at-last " in second.received)


def test_policies_of_the_settings(tmp_path: Path) -> None:
    config, file = tmp_path / "edge.yml", tmp_path / "policy.yml"

    def answers(text: str) -> dict[str, Any]:
        respond = {"type": "custom-response", "config": {"status_code": 200, "body": text}}
        return {"on_http_request": [{"actions": [respond]}]}

    def write(cloud: dict[str, Any], in_file: str) -> None:
        forward = {"type": "forward-internal", "config": {"url": "https://inner.internal"}}
        tag = {"on_http_response": [{"actions": [{"type": "add-headers", "config": {"headers": {"x-by": in_file}}}]}]}
        file.write_text(yaml.safe_dump(tag))
        endpoints = [
            {"url": "https://cloud.localhost", "traffic_policy": cloud},
            {"url": "https://leads.localhost", "traffic_policy": {"on_http_request": [{"actions": [forward]}]}},
            {"url": "https://inner.internal", "traffic_policy": yaml.safe_dump(answers("from within"))},
            {
                "url": "https://direct.localhost",
                "upstreams": [f"http://localhost:{upstream.port}"],
                "traffic_policy_file": "policy.yml",
            },
        ]
        config.write_text(yaml.safe_dump({"endpoints": endpoints}))

    with recording_upstream() as upstream:
        write(answers("first"), "first")
        with running_edge(tmp_path, "--config", str(config)) as edge:

            def get(host: str) -> httpx.Response:
                return visit(edge, f"https://{host}.localhost:{edge.https_port}")

            assert get("cloud").text == "first"
            assert get("leads").text == "from within"
            assert get("direct").headers["x-by"] == "first"
            write(answers("second"), "second")
            edge.process.send_signal(signal.SIGHUP)
            eventually(lambda: get("cloud").text == "second" and get("direct").headers["x-by"] == "second")
            assert get("leads").text == "from within"
            write({"on_http_request": [{"actions": [{"type": "deni"}]}]}, "third")
            edge.process.send_signal(signal.SIGHUP)
            eventually(lambda: "did you mean deny" in edge.log.read_text())
            assert get("cloud").text == "second"
            assert get("direct").headers["x-by"] == "second"
