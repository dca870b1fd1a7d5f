"""Rows 1.1 to 1.7: TLS passes through the edge and ends at the upstream. (The other SDKs: `tests/sdks`.)"""

from pathlib import Path

import pytest

from kit.cli import running_agent
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_config import started
from kit.rows_fixtures import NAME, PYTHON, Application, assert_ends_under, snippet


@row(
    "1.1",
    by_hand="""
    portico tls 4433 --terminate-at upstream --domain app.example.com
    visit --cacert ca.pem https://app.example.com
    """,
)
@pytest.mark.parametrize("place", [("--terminate-at", "upstream"), ()], ids=["said", "default"])
def test_row_1_1_command_line(rows_edge: RunningEdge, app: Application, place: tuple[str, ...]) -> None:
    with running_agent(rows_edge, "tls", str(app.tls), *place, "--domain", NAME) as agent:
        url = agent.url()
        assert url == f"tls://{NAME}:{rows_edge.https_port}"
        assert_ends_under(url, app.ca, rows_edge.ca)


@row("1.2", by_hand="portico start example --config tests/rows/config/upstream.yml")
@pytest.mark.parametrize("file", ["upstream.yml", "upstream-v3.yml"])
def test_row_1_2_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, file: str) -> None:
    with started(rows_edge, tmp_path, app.config(file, app.tls)) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.6", by_hand="UPSTREAM=localhost:4433 python tests/sdks/python/snippets.py ngrok upstream")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_1_6_python(rows_edge: RunningEdge, app: Application, sdk: str) -> None:
    with snippet(rows_edge, app, app.tls, *PYTHON, sdk, "upstream") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)
