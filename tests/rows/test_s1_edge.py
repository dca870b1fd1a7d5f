"""Rows 1.8 to 1.14 and 1.18 to 1.23: TLS ends at the edge. (The other SDKs: `tests/sdks`.)"""

import json
from pathlib import Path

import pytest

from kit.cli import running_agent
from kit.curl import curl
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_config import started
from kit.rows_fixtures import EDGE_DOMAIN, NAME, PYTHON, Application, assert_ends_under, assert_served, snippet


@row("1.8", by_hand="portico tls 8000 --terminate-at edge\nvisit --cacert edge/ca.pem URL")
def test_row_1_8_command_line(rows_edge: RunningEdge, app: Application) -> None:
    with running_agent(rows_edge, "tls", str(app.plain), "--terminate-at", "edge") as agent:
        url = agent.url()
        assert url.endswith(f".{EDGE_DOMAIN}:{rows_edge.https_port}")
        assert_served(curl(url, rows_edge.ca))


@row("1.9", by_hand="portico start example --config tests/rows/config/edge.yml")
@pytest.mark.parametrize("file", ["edge.yml", "edge-v3.yml"])
def test_row_1_9_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, file: str) -> None:
    with started(rows_edge, tmp_path, app.config(file, app.plain)) as agent:
        assert_served(curl(agent.url(), rows_edge.ca))


@row("1.13", by_hand="python tests/sdks/python/snippets.py ngrok edge")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_1_13_python(rows_edge: RunningEdge, app: Application, sdk: str) -> None:
    with snippet(rows_edge, app, app.plain, *PYTHON, sdk, "edge") as url:
        assert_served(curl(url, rows_edge.ca))


@row(
    "1.18",
    by_hand="""
    portico tls 8000 --domain app.example.com --terminate-at edge --crt app.pem --key app.key
    visit --cacert ca.pem https://app.example.com
    """,
)
def test_row_1_18_command_line(rows_edge: RunningEdge, app: Application) -> None:
    pair = ("--crt", str(app.crt), "--key", str(app.key))
    with running_agent(rows_edge, "tls", str(app.plain), "--domain", NAME, "--terminate-at", "edge", *pair) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.19", by_hand="portico start example --config tests/rows/config/own-certificate.yml")
def test_row_1_19_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    with started(rows_edge, tmp_path, app.config("own-certificate.yml", app.plain)) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.19", by_hand="portico start example --config tests/rows/config/own-certificate.yml")
def test_row_1_19_traffic_policy(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    pair = {"server_certificate": app.crt.read_text(), "server_private_key": app.key.read_text()}
    policy = {"on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": pair}]}]}
    endpoint = {
        "name": "example",
        "url": f"tls://{NAME}",
        "upstream": {"url": str(app.plain)},
        "traffic_policy": policy,
    }
    with started(rows_edge, tmp_path, json.dumps({"version": 3, "endpoints": [endpoint]})) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.22", by_hand="python tests/sdks/python/snippets.py ngrok own-certificate")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_1_22_python(rows_edge: RunningEdge, app: Application, sdk: str) -> None:
    # This snippet names no domain: a certificate for all names below the edge's covers the one it gets.
    with snippet(rows_edge, app, app.plain, *PYTHON, sdk, "own-certificate", **app.for_random_names) as url:
        assert_ends_under(url, app.ca, rows_edge.ca)
