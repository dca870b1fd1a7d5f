"""`python -m benchmarks` measures, and the page says what the results say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_page_is_the_results_one() -> None:
    assert run("benchmarks.page", "--check").returncode == 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing")
def test_a_benchmark_runs_on_a_whole_edge_and_prints_its_figures() -> None:
    done = run("benchmarks", "--quick", "--only", "starting")
    assert done.returncode == 0, done.stderr
    assert "portico http to the first 200" in done.stdout


def test_an_unknown_benchmark_is_named_with_the_known_ones() -> None:
    done = run("benchmarks", "--only", "nonsense")
    assert done.returncode == 2
    assert "keep-alive" in done.stderr


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is missing")
@pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None, reason="nginx is missing"
)
@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")
def test_a_peer_stands_beside_no_tunnel() -> None:
    done = run("benchmarks.peers", "--quick", "--only", "latency", "--contender", "ssh -R")
    if "OpenSSH is missing" in done.stdout:
        pytest.skip(done.stdout.partition("OpenSSH is missing")[2])
    assert done.returncode == 0, done.stderr
    assert "| ms | no tunnel | ssh -R |" in done.stdout


@pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("wrk", "h2load")), reason="wrk or h2load is missing"
)
@pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None, reason="nginx is missing"
)
def test_the_edge_stands_beside_plain_envoy() -> None:
    done = run(
        *("benchmarks.gateways", "--quick", "--only", "latency", "--only", "bulk"),
        *("--contender", "Portico", "--contender", "plain Envoy", "--contender", "nginx"),
    )
    assert done.returncode == 0, done.stderr
    assert "| ms | Portico | plain Envoy | nginx |" in done.stdout
    assert "| MB/s | Portico | plain Envoy | nginx |" in done.stdout
