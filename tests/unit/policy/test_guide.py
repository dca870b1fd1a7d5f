"""The guide is executed: its commands print what stands there. `REFRESH_GOLDEN=1` writes that anew."""

import os
import re
import shlex
from pathlib import Path

import pytest

from portico.cli.main import run

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "traffic-policy.md"
BLOCK = re.compile(r"```(yaml|console)\n(.*?)```", re.DOTALL)
OF_EXPLANATION = 0


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    text = GUIDE.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    policies = [body for kind, body in BLOCK.findall(text) if kind == "yaml"]

    def played(match: re.Match[str]) -> str:
        if match[1] == "yaml":
            return match[0]
        command = match[2].split("\n", 1)[0]
        words = shlex.split(command.removeprefix("$ portico "))
        (tmp_path / "policy.yml").write_text(policies[OF_EXPLANATION if words[1] == "explain" else -1], "utf-8")
        run(words)
        said = capfd.readouterr()
        return f"```console\n{command}\n{said.out}{said.err}```"

    found = BLOCK.sub(played, text)
    if os.environ.get("REFRESH_GOLDEN"):
        GUIDE.write_text(found, "utf-8")
    assert found == text
