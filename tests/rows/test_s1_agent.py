"""Rows 1.15 to 1.17: TLS ends at the agent."""

from pathlib import Path

import pytest

import portico
from kit.cli import running_agent
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_config import started
from kit.rows_fixtures import NAME, Application, assert_ends_under


@row(
    "1.15",
    by_hand="""
    portico tls 80 --terminate-at agent --domain app.example.com --crt app.pem --key app.key
    visit --cacert ca.pem https://app.example.com
    """,
)
def test_row_1_15_command_line(rows_edge: RunningEdge, app: Application) -> None:
    pair = ("--crt", str(app.crt), "--key", str(app.key))
    with running_agent(rows_edge, "tls", str(app.plain), "--terminate-at", "agent", "--domain", NAME, *pair) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


VERSION_2 = """
version: 2
tunnels:
  example:
    proto: tls
    terminate_at: agent
    domain: app.example.com
    addr: {plain}
    crt: {crt}
    key: {key}
"""
VERSION_3 = """
version: 3
endpoints:
  - name: example
    url: tls://app.example.com
    upstream:
      url: {plain}
    agent_tls_termination:
      server_certificate: {crt}
      server_private_key: {key}
"""


@row("1.16", by_hand="portico start example --config portico.yml")
@pytest.mark.parametrize("text", [VERSION_2, VERSION_3], ids=["tunnels", "endpoints"])
def test_row_1_16_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, text: str) -> None:
    with started(rows_edge, tmp_path, text.format(plain=app.plain, crt=app.crt, key=app.key)) as agent:
        assert_ends_under(agent.url(), app.ca, rows_edge.ca)


@row(
    "1.17",
    by_hand="""python -c 'import portico, time; portico.forward(80, proto="tls", domain="app.example.com", \
terminate_at="agent", crt=open("app.pem").read(), key=open("app.key").read(), authtoken_from_env=True); time.sleep(600)'""",
)
def test_row_1_17_portico_s_own_sdk(rows_edge: RunningEdge, app: Application) -> None:
    listener = portico.forward(
        app.plain,
        proto="tls",
        domain=NAME,
        terminate_at="agent",
        crt=app.crt.read_text(),
        key=app.key.read_text(),
        authtoken=rows_edge.authtoken,
        connect_url=rows_edge.connect_url,
        connect_cas=str(rows_edge.ca),
    )
    try:
        assert_ends_under(listener.url(), app.ca, rows_edge.ca)
    finally:
        listener.close()
