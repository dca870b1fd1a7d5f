"""What people read: help, messages, files. Each case of `tests/golden/cli/*.yaml` holds its input and its output.

`REFRESH_GOLDEN=1 pytest tests/unit/cli/test_golden.py` writes the outputs anew; read the difference before a commit.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.cli.main import run

FOLDER = Path(__file__).parents[2] / "golden" / "cli"
CASES = [(path, case["case"]) for path in sorted(FOLDER.glob("*.yaml")) for case in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize(("path", "name"), CASES, ids=[f"{path.stem}: {name}" for path, name in CASES])
def test_case(
    path: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cases = yaml.safe_load(path.read_text())
    case = next(one for one in cases if one["case"] == name)
    found = played(case, tmp_path, monkeypatch, capfd)
    if os.environ.get("REFRESH_GOLDEN"):
        case.update(found)
        path.write_text(yaml.dump(cases, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))
    assert found == {key: case.get(key) for key in found}


def played(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    for variable in ("PORTICO_AUTHTOKEN", "NGROK_AUTHTOKEN", "PORTICO_CONNECT_URL", "PORTICO_CONNECT_CAS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    for file, text in case.get("files", {}).items():
        (tmp_path / file).write_text(text)
    status = run(case["arguments"])
    said = capfd.readouterr()
    result = {
        "status": status,
        "output": said.out.replace(str(tmp_path), "DIR"),
        "errors": said.err.replace(str(tmp_path), "DIR"),
    }
    if "shows" in case:
        result["left"] = {file: (tmp_path / file).read_text() for file in case["shows"]}
    return result


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that a difference can be read."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
