"""`make demo` as a newcomer meets it: the URL, the curl line as it stands, and Ctrl-C."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_demo_prints_a_curl_line_that_works_and_leaves_nothing_running(tmp_path: Path) -> None:
    # A copy, because the demo keeps its files beside itself.
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with (tmp_path / "said").open("w") as said:
        demo = subprocess.Popen(
            [sys.executable, "examples/demo.py"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
    try:
        assert demo.stdout is not None
        lines = []
        while not (lines and "Ctrl-C" in lines[-1]):
            line = demo.stdout.readline()
            assert line, "the demo ended"
            lines.append(line)
        told = "".join(lines)
        command = re.search(r"curl .*", told)
        assert command is not None
        asked = subprocess.run(command[0].split(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        assert asked.stdout.startswith("Hello ")
        processes = (tmp_path / ".demo" / "processes").read_text()
        os.kill(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 0
        assert (tmp_path / "said").read_text() == ""
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
        if demo.stdout:
            demo.stdout.close()
    for pid in re.findall(r"\d+$", processes, re.MULTILINE):
        assert not Path(f"/proc/{pid}").exists()
