"""Rows 1.15 to 1.17: TLS ends at the agent."""

from pathlib import Path

import pytest

from kit.cli import running_agent
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_config import started
from kit.rows_fixtures import NAME, PYTHON, Application, assert_ends_under, snippet


@row(
    "1.15",
    by_hand="""
    portico tls 8000 --terminate-at agent --domain app.example.com --crt app.pem --key app.key
    visit --cacert ca.pem https://app.example.com
    """,
)
def test_row_1_15_command_line(rows_edge: RunningEdge, app: Application) -> None:
    pair = ("--crt", str(app.crt), "--key", str(app.key))
    with running_agent(rows_edge, "tls", str(app.plain), "--terminate-at", "agent", "--domain", NAME, *pair) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.16", by_hand="portico start example --config tests/rows/config/agent.yml")
@pytest.mark.parametrize("file", ["agent.yml", "agent-v3.yml"])
def test_row_1_16_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, file: str) -> None:
    with started(rows_edge, tmp_path, app.config(file, app.plain)) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.17", by_hand="python tests/sdks/python/snippets.py portico agent")
def test_row_1_17_portico_s_own_sdk(rows_edge: RunningEdge, app: Application) -> None:
    with snippet(rows_edge, app, app.plain, *PYTHON, "portico", "agent") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)
