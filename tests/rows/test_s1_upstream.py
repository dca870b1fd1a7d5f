"""Rows 1.1 to 1.7: TLS passes through the edge and ends at the upstream. (The other SDKs: `tests/sdks`.)"""

import sys
from pathlib import Path

import pytest

from kit.cli import running_agent
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_config import started
from kit.rows_fixtures import NAME, Application, assert_ends_under, snippet
from kit.sdk_builds import SOURCES


@row(
    "1.1",
    by_hand="""
    portico tls 443 --terminate-at upstream --domain app.example.com
    visit --cacert ca.pem https://app.example.com
    """,
)
@pytest.mark.parametrize("place", [("--terminate-at", "upstream"), ()], ids=["said", "default"])
def test_row_1_1_command_line(rows_edge: RunningEdge, app: Application, place: tuple[str, ...]) -> None:
    with running_agent(rows_edge, "tls", str(app.tls), *place, "--domain", NAME) as agent:
        url = agent.url()
        assert url == f"tls://{NAME}:{rows_edge.https_port}"
        assert_ends_under(url, app.ca, rows_edge.ca)


VERSION_2 = """
version: 2
tunnels:
  example:
    proto: tls
    domain: app.example.com
    addr: {tls}
    terminate_at: upstream
"""
VERSION_3 = """
version: 3
endpoints:
  - name: example
    url: tls://app.example.com
    upstream:
      url: {tls}
"""


@row("1.2", by_hand="portico start example --config portico.yml")
@pytest.mark.parametrize("text", [VERSION_2, VERSION_3], ids=["tunnels", "endpoints"])
def test_row_1_2_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, text: str) -> None:
    with started(rows_edge, tmp_path, text.format(tls=app.tls)) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row("1.6", by_hand="python tests/sdks/python/snippets.py ngrok upstream")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_1_6_python(rows_edge: RunningEdge, app: Application, sdk: str) -> None:
    program = str(SOURCES / "python" / "snippets.py")
    with snippet(rows_edge, app, app.tls, sys.executable, program, sdk, "upstream") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)
