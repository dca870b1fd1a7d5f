"""The wide-area link of the benchmarks: two network namespaces that stand 40 ms apart, and go without a trace."""

import os
import subprocess
from pathlib import Path

import pytest
from benchmarks.wan import why_not, wide_area
from benchmarks.wan_figures import round_trips

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def test_a_ping_crosses_and_needs_the_round_trip() -> None:
    with wide_area(delay_ms=40) as link:
        trips = round_trips(link, 3)
        assert len(trips) == 3
        # A link can be late, but nothing crosses it sooner.
        assert min(trips) > 39.0
    assert link.figures is not None
    assert link.figures["carried"] >= 6


def test_programs_run_at_the_ends_and_are_gone_with_the_link() -> None:
    here = os.readlink("/proc/self/ns/net")
    with wide_area(delay_ms=1, congestion="cubic", names=("edge.test",)) as link:
        script = "cat /proc/sys/net/ipv4/tcp_congestion_control && getent ahostsv4 edge.test && pwd"
        said = subprocess.check_output(link.command(link.agent, ["sh", "-c", script]), text=True)
        assert said.startswith("cubic")
        assert link.server.address in said
        assert str(Path.cwd()) in said
        forgotten = subprocess.Popen(link.command(link.agent, ["sleep", "1000"]))
        with link.inside(link.server):
            assert os.readlink("/proc/thread-self/ns/net") != here
    assert os.readlink("/proc/thread-self/ns/net") == here
    assert forgotten.wait(60) != 0
    assert not link.server.namespace.exists()
