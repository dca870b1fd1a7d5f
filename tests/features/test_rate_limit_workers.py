"""One count for all of Envoy's workers, whichever of them has a visitor's connection."""

import json
from pathlib import Path

import portico
from kit.edge import running_edge
from kit.visit import visit
from kit.web_service import web_service

CAPACITY, VISITS = 5, 30


def test_workers_count_together(tmp_path: Path) -> None:
    limit = {
        "name": "all",
        "algorithm": "sliding_window",
        "capacity": CAPACITY,
        "rate": "24h",
        "bucket_key": ["endpoint.url"],
    }
    policy = {"on_http_request": [{"actions": [{"type": "rate-limit", "config": limit}]}]}
    with (
        running_edge(tmp_path, "--envoy-concurrency", "4") as edge,
        web_service() as service,
        portico.forward(
            service,
            traffic_policy=json.dumps(policy),
            authtoken=edge.authtoken,
            connect_url=edge.connect_url,
            connect_cas=str(edge.ca),
        ) as listener,
    ):
        statuses = [visit(edge, listener.url(), "/headers").status_code for _ in range(VISITS)]
    assert (statuses.count(200), statuses.count(429)) == (CAPACITY, VISITS - CAPACITY)
