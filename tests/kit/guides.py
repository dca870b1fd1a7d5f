"""Policies as a guide prints them, so that what people copy is what is tested."""

import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "docs" / "guides"


def policy_of(guide: str, heading: str) -> dict[str, Any]:
    """The one policy below a heading of `docs/guides/<guide>.md`."""
    text = (FOLDER / f"{guide}.md").read_text()
    _, _, below = text.partition(f"\n## {heading}\n")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", below.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    policy: dict[str, Any] = yaml.safe_load(block)
    return policy
