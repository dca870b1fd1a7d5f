"""Rows 2.1 to 2.13: visitors show a certificate, to the edge or to the agent. (The other SDKs: `tests/sdks`.)"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import portico
from kit.cli import running_agent
from kit.client_certificates import HOUR, SERVER, VisitorAuthority, written
from kit.curl import curl
from kit.edge import RunningEdge
from kit.openssl import s_client
from kit.rows import row
from kit.rows_config import refused, started
from kit.rows_fixtures import NAME, PYTHON, Application, assert_demands_certificate, snippet
from portico.model.endpoint import KeyPair

PLACES = ["edge", "agent"]


def flags_of(app: Application, place: str, cas: Path | None = None) -> list[str]:
    """The documents' flags for mutual TLS at `place`."""
    pair = ["--crt", str(app.crt), "--key", str(app.key)] if place == "agent" else []
    return ["--url", NAME, "--terminate-at", place, *pair, "--mutual-tls-cas", str(cas or app.cas)]


@contextmanager
def demanding(edge: RunningEdge, app: Application, place: str, cas: Path | None = None) -> Iterator[tuple[str, Path]]:
    """A tls endpoint that demands a certificate; its URL, and who signed its own."""
    with running_agent(edge, "tls", str(app.recorder.port), *flags_of(app, place, cas)) as agent:
        yield agent.url(), app.ca if place == "agent" else edge.ca


@row(
    "2.1",
    by_hand="""
    portico tls 8000 --url app.example.com --terminate-at edge --mutual-tls-cas cas.pem
    visit --cacert edge/ca.pem --cert client-cert.pem --key client-key.pem https://app.example.com
    """,
)
def test_row_2_1_command_line(rows_edge: RunningEdge, app: Application) -> None:
    with demanding(rows_edge, app, "edge") as (url, ca):
        assert_demands_certificate(url, ca, app)


@row("2.2", by_hand="portico start example --config tests/rows/config/mutual-tls-edge.yml")
def test_row_2_2_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    with started(rows_edge, tmp_path, app.config("mutual-tls-edge.yml", app.recorder.port)) as agent:
        assert_demands_certificate(agent.url(), rows_edge.ca, app)


@row("2.2", by_hand="portico start example --config tests/rows/config/mutual-tls-edge.yml")
def test_row_2_2_traffic_policy(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    config = {"mutual_tls_certificate_authorities": [app.cas.read_text()]}
    endpoint = {
        "name": "example",
        "url": f"tls://{NAME}",
        "upstream": {"url": str(app.recorder.port)},
        "traffic_policy": {"on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": config}]}]},
    }
    with started(rows_edge, tmp_path, json.dumps({"version": 3, "endpoints": [endpoint]})) as agent:
        assert_demands_certificate(agent.url(), rows_edge.ca, app)


@row("2.5", by_hand="python tests/sdks/python/snippets.py ngrok mutual-tls")
@pytest.mark.parametrize("sdk", ["ngrok", "portico"])
def test_row_2_5_python(rows_edge: RunningEdge, app: Application, sdk: str) -> None:
    with snippet(rows_edge, app, app.recorder.port, *PYTHON, sdk, "mutual-tls") as url:
        assert_demands_certificate(url, app.ca, app)


@row(
    "2.7",
    by_hand="""
    portico tls 8000 --url app.example.com --terminate-at agent --crt app.pem --key app.key --mutual-tls-cas cas.pem
    visit --cacert ca.pem --cert client-cert.pem --key client-key.pem https://app.example.com
    """,
)
def test_row_2_7_command_line(rows_edge: RunningEdge, app: Application) -> None:
    with demanding(rows_edge, app, "agent") as (url, ca):
        assert_demands_certificate(url, ca, app)


@row("2.8", by_hand="portico start example --config tests/rows/config/mutual-tls-agent.yml")
@pytest.mark.parametrize("file", ["mutual-tls-agent.yml", "mutual-tls-agent-v3.yml"])
def test_row_2_8_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path, file: str) -> None:
    with started(rows_edge, tmp_path, app.config(file, app.recorder.port)) as agent:
        assert_demands_certificate(agent.url(), app.ca, app)


@row("2.8", by_hand="python tests/sdks/python/snippets.py portico mutual-tls-agent")
def test_row_2_8_portico_s_own_sdk(rows_edge: RunningEdge, app: Application) -> None:
    with snippet(rows_edge, app, app.recorder.port, *PYTHON, "portico", "mutual-tls-agent") as url:
        assert_demands_certificate(url, app.ca, app)


@row(
    "2.9",
    by_hand="""
    cat one-ca.pem another-ca.pem > cas.pem
    portico tls 8000 --url app.example.com --terminate-at edge --mutual-tls-cas cas.pem
    """,
)
@pytest.mark.parametrize("place", PLACES)
def test_row_2_9_any_of_several_authorities(
    rows_edge: RunningEdge, app: Application, tmp_path: Path, place: str
) -> None:
    others = [VisitorAuthority(f"CA {number}") for number in range(2)]
    cas = tmp_path / "cas.pem"
    cas.write_text("".join(authority.pem for authority in (*others, app.visitors)))
    with demanding(rows_edge, app, place, cas) as (url, ca):
        for authority in (*others, app.visitors):
            assert curl(url, ca, *app.shown(written(authority.issue(), tmp_path))).status == 200
        assert curl(url, ca, *app.shown(app.stranger)).status == 0


@row("2.9", by_hand="portico tls 8000 --url app.example.com --terminate-at edge --mutual-tls-cas eleven-cas.pem")
def test_row_2_9_eleven_are_too_many_at_the_edge(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    cas = tmp_path / "cas.pem"
    cas.write_text("".join(VisitorAuthority(f"CA {number}").pem for number in range(11)))
    with running_agent(rows_edge, "tls", str(app.plain), *flags_of(app, "edge", cas)) as agent:
        assert "11 authorities; the edge takes 10 at most" in refused(agent)


@row(
    "2.10",
    by_hand="""
    openssl x509 -in client-cert.pem -noout -ext basicConstraints
    portico tls 8000 --url app.example.com --terminate-at edge --mutual-tls-cas client-cert.pem
    """,
)
@pytest.mark.parametrize("place", PLACES)
def test_row_2_10_an_authority_that_is_none(
    rows_edge: RunningEdge, app: Application, tmp_path: Path, place: str
) -> None:
    cas = tmp_path / "cas.pem"
    cas.write_text(app.visitors.pem + VisitorAuthority("Somebody", is_ca=False).pem)
    with running_agent(rows_edge, "tls", str(app.plain), *flags_of(app, place, cas)) as agent:
        assert "CA 2 ('Somebody') is not a CA: its basicConstraints say cA false" in refused(agent)


UNFIT: dict[str, tuple[int, int]] = {
    # the alerts of TLS 1.2 (RFC 5246, 7.2.2) and of TLS 1.3 (RFC 8446, 6.2)
    "none": (40, 116),
    "of a stranger's CA": (48, 48),
    "expired": (45, 45),
    "for servers": (43, 43),
}


def unfit(app: Application, name: str) -> KeyPair | None:
    """What such a visitor shows."""
    made = {
        "of a stranger's CA": lambda: VisitorAuthority("strangers").issue(),
        "expired": lambda: app.visitors.issue(starts=-2 * HOUR, lasts=HOUR),
        "for servers": lambda: app.visitors.issue(usage=SERVER),
    }
    return made[name]() if name in made else None


@row(
    "2.11",
    by_hand="""
    openssl s_client -connect 127.0.0.1:8443 -servername app.example.com -tls1_2
    openssl s_client -connect 127.0.0.1:8443 -servername app.example.com -cert expired.pem -key expired.key
    """,
)
@pytest.mark.parametrize("place", PLACES)
def test_row_2_11_the_alert_that_fits(rows_edge: RunningEdge, app: Application, tmp_path: Path, place: str) -> None:
    with demanding(rows_edge, app, place) as (_, ca):
        before = app.recorder.connections
        seen = {}
        for name in UNFIT:
            pair = unfit(app, name)
            files = written(pair, tmp_path) if pair else ()
            shown = [word for flag, file in zip(("-cert", "-key"), files, strict=False) for word in (flag, str(file))]
            versions = [s_client(rows_edge.https_port, NAME, ca, f"-tls1_{minor}", *shown) for minor in (2, 3)]
            assert not any("HTTP/1.1 200" in version.text for version in versions)
            seen[name] = tuple(version.alert for version in versions)
        assert seen == UNFIT
        assert app.recorder.connections == before


@row(
    "2.12",
    by_hand="""
    portico tls 4433 --url app.example.com --mutual-tls-cas cas.pem
    portico tls 4433 --url app.example.com --terminate-at upstream --mutual-tls-cas cas.pem
    portico tcp 22 --mutual-tls-cas cas.pem
    """,
)
@pytest.mark.parametrize("place", [("--terminate-at", "upstream"), ()], ids=["upstream", "default"])
def test_row_2_12_command_line(rows_edge: RunningEdge, app: Application, place: tuple[str, ...]) -> None:
    with running_agent(
        rows_edge, "tls", str(app.tls), "--url", NAME, *place, "--mutual-tls-cas", str(app.cas)
    ) as agent:
        said = refused(agent, status=2)
        assert "mutual TLS (mutual_tls_cas) was asked for, but TLS is not terminated" in said
        assert "terminate_at" in said


@row("2.12", by_hand="portico tcp 22 --mutual-tls-cas cas.pem")
def test_row_2_12_where_there_is_no_tls(rows_edge: RunningEdge, app: Application) -> None:
    with running_agent(rows_edge, "tcp", str(app.plain), "--mutual-tls-cas", str(app.cas)) as agent:
        assert "--mutual-tls-cas is a flag of http and tls endpoints, not of tcp" in refused(agent, status=2)


@row("2.12", by_hand="portico start example --config tests/rows/config/mutual-tls-upstream.yml")
def test_row_2_12_configuration(rows_edge: RunningEdge, app: Application, tmp_path: Path) -> None:
    with started(rows_edge, tmp_path, app.config("mutual-tls-upstream.yml", app.tls)) as agent:
        assert "TLS is not terminated" in refused(agent, status=2)


@row("2.12", by_hand="portico start example --config tests/rows/config/mutual-tls-upstream.yml")
def test_row_2_12_portico_s_own_sdk(app: Application) -> None:
    with pytest.raises(portico.PorticoError, match="TLS is not terminated"):
        portico.forward(
            app.tls,
            proto="tls",
            domain=NAME,
            mutual_tls_cas=app.cas.read_text(),
            authtoken="none",
            connect_url="localhost:1",  # all is refused before anything is dialled
        )


@row(
    "2.13",
    by_hand="""
    visit --cacert edge/ca.pem --cert client-cert.pem --key client-key.pem https://app.example.com
    cat client-cert.pem client-key.pem > client-cert-and-key.pem
    visit --cacert edge/ca.pem --cert client-cert-and-key.pem https://app.example.com
    """,
)
@pytest.mark.parametrize("place", PLACES)
def test_row_2_13_curl_with_two_files_and_with_one(
    rows_edge: RunningEdge, app: Application, tmp_path: Path, place: str
) -> None:
    certificate, key = app.client
    both = tmp_path / "client-cert-and-key.pem"
    subprocess.run(["bash", "-ec", 'cat "$0" "$1" > "$2"', certificate, key, both], check=True)
    with demanding(rows_edge, app, place) as (url, ca):
        assert curl(url, ca, "--cert", str(certificate), "--key", str(key)).status == 200
        assert curl(url, ca, "--cert", str(both)).status == 200
        assert curl(url, ca).status == 0
