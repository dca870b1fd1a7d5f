"""Lines of a file to which somebody else writes meanwhile."""

import json
from pathlib import Path
from typing import Any


def whole_lines(path: Path) -> list[str]:
    """Those that have their end; the last one may still be written. None where there is no file yet."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def records(path: Path) -> list[dict[str, Any]]:
    """The lines that are JSON objects."""
    return [json.loads(line) for line in whole_lines(path) if line.startswith("{")]
