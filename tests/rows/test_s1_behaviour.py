"""Rows 1.26 and 1.27: versions of TLS, and what is wrong with certificates, as the command line's users meet them."""

import subprocess
from pathlib import Path

import pytest

from kit.cli import running_agent
from kit.curl import curl
from kit.edge import RunningEdge
from kit.key_pairs import KeyPairs
from kit.openssl import s_client
from kit.rows import row
from kit.rows_config import refused, started
from kit.rows_fixtures import NAME, PYTHON, Application, assert_served, snippet_environment
from kit.sslscan import versions

OLD = ("-cipher", "DEFAULT@SECLEVEL=0")
"""What lets today's openssl speak yesterday's TLS."""


def pair_flags(crt: Path, key: Path) -> tuple[str, ...]:
    return ("--crt", str(crt), "--key", str(key))


@row(
    "1.26",
    by_hand="""
    sslscan --sni-name=app.example.com 127.0.0.1:8443
    openssl s_client -connect 127.0.0.1:8443 -servername app.example.com
    openssl s_client -connect 127.0.0.1:8443 -servername app.example.com -tls1_1 -cipher DEFAULT@SECLEVEL=0
    """,
)
@pytest.mark.parametrize("place", ["edge", "agent"])
def test_row_1_26_at_least_1_2_and_1_3_preferred(rows_edge: RunningEdge, app: Application, place: str) -> None:
    flags = ("--domain", NAME, "--terminate-at", place, *pair_flags(app.crt, app.key))
    with running_agent(rows_edge, "tls", str(app.recorder.port), *flags) as agent:
        agent.url()
        before = app.recorder.connections
        for old in ("-tls1", "-tls1_1"):
            assert s_client(rows_edge.https_port, NAME, app.ca, old, *OLD).alert == 70  # protocol_version
        assert app.recorder.connections == before
        assert versions(rows_edge.https_port, NAME) == {"1.2", "1.3"}
        assert s_client(rows_edge.https_port, NAME, app.ca).version == "TLSv1.3"
        assert s_client(rows_edge.https_port, NAME, app.ca, "-tls1_2").version == "TLSv1.2"


@row("1.26", by_hand="portico start example --config tests/rows/config/edge-minimum-v3.yml")
def test_row_1_26_an_endpoint_s_own_minimum_at_the_edge(
    rows_edge: RunningEdge, app: Application, tmp_path: Path
) -> None:
    with started(rows_edge, tmp_path, app.config("edge-minimum-v3.yml", app.plain)) as agent:
        assert_served(curl(agent.url(), rows_edge.ca))
        assert versions(rows_edge.https_port, NAME) == {"1.3"}


@row("1.27", by_hand="portico tls 8000 --terminate-at agent --domain other.example.com --crt app.pem --key app.key")
def test_row_1_27_a_certificate_for_another_domain_at_the_agent(rows_edge: RunningEdge, app: Application) -> None:
    flags = ("--terminate-at", "agent", "--domain", "other.example.com", *pair_flags(app.crt, app.key))
    with running_agent(rows_edge, "tls", str(app.plain), *flags) as agent:
        assert "the certificate does not cover other.example.com; it is for app.example.com" in refused(agent)
    with running_agent(rows_edge, "tls", str(app.plain), *flags, "--crt-any-domain") as agent:
        assert curl(agent.url(), app.ca, "--insecure").status == 200


@row("1.27", by_hand="portico tls 8000 --terminate-at edge --domain other.example.com --crt app.pem --key app.key")
def test_row_1_27_a_certificate_for_another_domain_at_the_edge(rows_edge: RunningEdge, app: Application) -> None:
    flags = ("--terminate-at", "edge", "--domain", "warned.example.com", *pair_flags(app.crt, app.key))
    with running_agent(rows_edge, "tls", str(app.plain), *flags) as agent:
        url = agent.url()
        assert curl(url, app.ca).exit == 60
        assert curl(url, app.ca, "--insecure").status == 200
        assert agent.stop() == 0
        assert agent.process.stdout is not None
        said = str(agent.records) + agent.process.stdout.read()
    assert "does not cover warned.example.com; it is for app.example.com" in said
    warnings = [line for line in rows_edge.log.read_text().splitlines() if "does not cover" in line]
    assert any("warned.example.com" in line for line in warnings)


@row("1.27", by_hand="portico tls 8000 --terminate-at agent --domain app.example.com --crt app.pem --key another.key")
@pytest.mark.parametrize("place", ["edge", "agent"])
def test_row_1_27_a_key_of_another_certificate(
    rows_edge: RunningEdge, app: Application, tmp_path: Path, place: str
) -> None:
    _, key = KeyPairs(tmp_path, "other").issue(NAME)
    flags = ("--terminate-at", place, "--domain", NAME, *pair_flags(app.crt, key))
    with running_agent(rows_edge, "tls", str(app.plain), *flags) as agent:
        assert f"the private key does not match the certificate of '{NAME}'" in refused(agent)


@row("1.27", by_hand="portico tls 8000 --terminate-at agent --crt app.pem --key app.key")
def test_row_1_27_a_missing_domain(rows_edge: RunningEdge, app: Application) -> None:
    flags = ("--terminate-at", "agent", *pair_flags(app.crt, app.key))
    with running_agent(rows_edge, "tls", str(app.plain), *flags) as agent:
        said = refused(agent, status=2)
        assert "no domain was asked for" in said
        assert f"--url tls://{NAME}" in said


@row("1.27", by_hand="portico tls 8000 --terminate-at agent --domain app.example.com --crt app.pem")
def test_row_1_27_half_a_pair(rows_edge: RunningEdge, app: Application) -> None:
    flags = ("--terminate-at", "agent", "--domain", NAME)
    for half in (("--crt", str(app.crt)), ("--key", str(app.key))):
        with running_agent(rows_edge, "tls", str(app.plain), *flags, *half) as agent:
            assert "is missing: the two go together" in refused(agent)


@row("1.27", by_hand="KEY=another.key python tests/sdks/python/snippets.py ngrok own-certificate")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_1_27_a_key_of_another_certificate_in_python(
    rows_edge: RunningEdge, app: Application, tmp_path: Path, sdk: str
) -> None:
    _, key = KeyPairs(tmp_path, "other").issue(NAME)
    environment = {**snippet_environment(rows_edge, app, app.plain), "KEY": str(key)}
    done = subprocess.run(
        [*PYTHON, sdk, "own-certificate"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"the private key does not match the certificate of '{NAME}'" in done.stderr
