"""What `portico policy check` and `explain` say. Each case of `tests/golden/policy` has a policy and the answers.

`REFRESH_GOLDEN=1 pytest tests/unit/policy/test_golden.py` writes the answers anew; read the difference before a commit.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.cli.main import run
from portico.policy.actions import ACTIONS

FOLDER = Path(__file__).parents[2] / "golden" / "policy"
CASES = [(path, case["case"]) for path in sorted(FOLDER.glob("*.yaml")) for case in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize(("path", "name"), CASES, ids=[f"{path.stem}: {name}" for path, name in CASES])
def test_case(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = yaml.safe_load(path.read_text())
    case = next(one for one in cases if one["case"] == name)

    (tmp_path / "facts.json").write_text(json.dumps(case.get("facts", {})))

    def said(*arguments: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(case["policy"]))
        run(["policy", *arguments])
        found = capfd.readouterr()
        return (found.out + found.err).replace("standard input:", "").strip()

    wanted = yaml.safe_load(yaml.safe_dump(case))
    case["check"] = said("check", "-")
    for asked in case.get("explain", []):
        asked["says"] = said("explain", "-", "--request", asked["request"], *asked.get("options", []))
    if os.environ.get("REFRESH_GOLDEN"):
        path.write_text(yaml.dump(cases, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))
    assert case == wanted


def test_every_action_has_its_page() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} >= set(ACTIONS)


def test_the_documented_examples_are_valid() -> None:
    texts = [(path.stem, case) for path in FOLDER.glob("*.yaml") for case in yaml.safe_load(path.read_text())]
    wrong = [(stem, case["case"]) for stem, case in texts if case.get("valid", True) == ("no valid" in case["check"])]
    assert not wrong


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that a difference can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
