"""Every piece of an edge's settings that a page of docs/ prints is one that an edge takes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.edge.settings_sources import load_settings
from portico.model.errors import PorticoError

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NO_SETTINGS = re.compile(r"^(on_tcp_connect|on_http_request|on_http_response|version):", re.MULTILINE)
ABOUT_FILES = ("No such file", "its directory has to be there")


def pieces() -> Iterator[tuple[str, str]]:
    for page in sorted([*DOCS.glob("*.md"), *(DOCS / "guides").glob("*.md")]):
        blocks = [text for text in BLOCK.findall(page.read_text("utf-8")) if not NO_SETTINGS.search(text)]
        yield from ((f"{page.stem}-{number}", text) for number, text in enumerate(blocks))


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in pieces()])
def test_what_is_printed_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "edge.yml").write_text(text, "utf-8")
    try:
        load_settings({"config": str(tmp_path / "edge.yml")}, {})
    except PorticoError as error:
        wrong = [line for line in error.message.splitlines() if not any(words in line for words in ABOUT_FILES)]
        assert not wrong, "\n".join(wrong)
