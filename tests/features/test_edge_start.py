"""Starting an edge: the files that it makes, its admin answers, and one clear line for what prevents the start."""

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from kit.edge import RunningEdge, running_edge
from kit.whole_lines import whole_lines


def start(*flags: str, **environment: str) -> tuple[int, str, str]:
    """Run `portico edge` that is not expected to become ready: status, standard output, standard error."""
    addresses = (
        "--https-addr",
        "127.0.0.1:0",
        "--http-addr",
        "off",
        "--ssh-addr",
        "off",
        "--admin-addr",
        "127.0.0.1:0",
    )
    done = subprocess.run(
        [sys.executable, "-m", "portico.cli.main", "edge", *addresses, *flags],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **environment},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def ask(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read().decode()


def test_first_start_makes_private_credentials_and_a_public_ca(edge: RunningEdge) -> None:
    for name in ("authtoken", "api-key", "ca-key.pem", "portico.db"):
        assert stat.S_IMODE((edge.data_dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(edge.data_dir.stat().st_mode) == 0o700
    assert edge.ca.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_admin_says_that_it_is_alive_ready_and_how_it_does(edge: RunningEdge) -> None:
    assert ask(edge.admin + "/healthz") == (200, "ok\n")
    status, body = ask(edge.admin + "/readyz")
    assert status == 200
    assert json.loads(body)["ready"] is True
    _, metrics = ask(edge.admin + "/metrics")
    for name in ("portico_ready 1.0", "portico_relay_sessions", "envoy_server_live", "portico_publish_seconds_count"):
        assert name in metrics


def test_every_log_line_is_json_and_none_has_a_credential(edge: RunningEdge) -> None:
    for line in whole_lines(edge.log):
        json.loads(line)
    text = edge.log.read_text()
    for secret in (edge.authtoken, (edge.data_dir / "api-key").read_text().strip()):
        assert secret not in text


def test_credentials_survive_a_restart(tmp_path: Path) -> None:
    with running_edge(tmp_path) as first:
        token, ca = first.authtoken, first.ca.read_text()
        assert first.stop() == 0
    with running_edge(tmp_path) as second:
        assert (second.authtoken, second.ca.read_text()) == (token, ca)


def test_a_second_edge_on_the_same_data_directory_is_refused(edge: RunningEdge) -> None:
    status, output, errors = start("--data-dir", str(edge.data_dir))
    assert (status, output) == (1, "")
    assert "in use by another running edge" in errors
    assert "PORTICO_20042" in errors


def test_an_address_in_use_is_named_with_its_flag(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        status, output, errors = start("--data-dir", str(tmp_path / "edge"), "--https-addr", address)
    assert (status, output) == (1, "")
    assert f"{address} (--https-addr) is in use" in errors


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--data-dir", "/proc/portico"), "/proc/portico"),
        (("--domain", "not a name"), "--domain"),
        (("--tcp-ports", "9-1"), "--tcp-ports"),
        (("--config", "/nonexistent.yml"), "/nonexistent.yml"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
def test_what_prevents_a_start_is_said_in_one_place(flags: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    status, output, errors = start("--data-dir", str(tmp_path / "edge"), *flags)
    assert status != 0
    assert output == ""
    assert complaint in errors
    assert "Traceback" not in errors


def test_a_missing_envoy_is_said(tmp_path: Path) -> None:
    status, _, errors = start("--data-dir", str(tmp_path / "edge"), PORTICO_ENVOY="/nonexistent/envoy")
    assert status == 1
    assert "PORTICO_20043" in errors


def test_a_damaged_store_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "portico.db").write_bytes(b"no database" * 1000)
    status, output, errors = start("--data-dir", str(tmp_path / "edge"), "--log-format", "json")
    assert (status, output) == (1, "")
    assert "portico.db" in errors
    assert "Traceback" not in errors
