"""`examples/music` as a newcomer meets it: one command, the README's own lines, Ctrl-C. `tests/rows` shows the rest."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.polling import eventually

MUSIC = Path(__file__).parents[2] / "examples" / "music"
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")


@dataclass(frozen=True)
class Started:
    """The example, and its file of words."""

    process: subprocess.Popen[str]
    words: Path
    told: str

    def shell(self, command: str) -> str:
        """What a command of the README prints, in a shell that knows the words."""
        script = f'. {self.words}; portico() {{ "{sys.executable}" -m portico.cli.main "$@"; }}; {command}'
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.words.parent,
            env={**os.environ, "NO_PROXY": "*", "no_proxy": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    process = subprocess.Popen(
        [sys.executable, str(MUSIC / "start.py")], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    told = ""
    try:
        while "Ctrl-C" not in told:
            line = process.stdout.readline()
            assert line, f"the example ended: {told}"
            told += line
        words = re.search(r"\. (/\S+)", told)
        assert words is not None
        yield Started(process, Path(words[1]), told)
    finally:
        if process.poll() is None:
            process.terminate()  # it ends what it has started
            process.wait(60)
        process.stdout.close()


def commands(title: str) -> list[str]:
    """The lines of the README's section."""
    section = (MUSIC / "README.md").read_text("utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return [line.partition("  #")[0].strip() for line in found[1].splitlines()]


def test_what_it_says_first_works(started: Started) -> None:
    assert "<h1>Hello ann</h1>" in started.shell("curl -s -u $PERSON $URL/")


def test_the_readme_s_lines_reach_every_service(started: Started) -> None:
    answers = [started.shell(line.replace("curl ", "curl -sS ")) for line in commands("One name, many services")]
    expected = ["Hello ann", '"machine": "search-', '"machine": "playlists"', *['"asked_by": "radio"'] * 2]
    assert [word in answer for word, answer in zip(expected, answers, strict=True)] == [True] * 5, answers


def test_the_readme_s_lines_show_who_comes_in(started: Started) -> None:
    answers = [started.shell(line.replace("curl ", "curl -sS -i ")) for line in commands("Who comes in")]
    assert [answer.split()[1] for answer in answers] == ["401", "401", "200", "200"]
    assert '"playlist": ["So What"], "of": "radio"' in answers[2]
    assert '"of": "ann"' in answers[3]


def test_the_readme_s_lines_meet_the_limit(started: Started) -> None:
    many, once, method = commands("How much each may ask for")
    assert re.search(r"\d+ 429", started.shell(many))
    # Each second there is room for one again: who was slow has the limit met once more before he looks.
    eventually(lambda: re.search(r"^retry-after: \d+", started.shell(f"{many}; {once}"), re.MULTILINE))
    assert started.shell(method).split()[1] == "405"


def test_the_readme_s_lines_change_the_policy(started: Started) -> None:
    shown = started.shell("portico api endpoints get $ENDPOINT")
    assert "forward-internal" in shown
    text = "on_http_request: [{actions: [{type: custom-response, config: {status_code: 503, body: back soon}}]}]"
    (started.words.parent / "changed.yml").write_text(text)
    for command in commands("Change it while it runs")[1:]:
        started.shell(command)
    assert started.shell("curl -s -u $PERSON $URL/") == "back soon"


def test_ctrl_c_leaves_nothing(started: Started) -> None:
    home = started.words.parent
    processes = (home / "edge" / "processes").read_text()
    os.kill(started.process.pid, signal.SIGINT)
    assert started.process.wait(60) == 0
    assert not home.exists()
    for pid in re.findall(r"\d+$", processes, re.MULTILINE):
        assert not Path(f"/proc/{pid}").exists()
