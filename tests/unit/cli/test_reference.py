"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from portico.cli.config.models import AgentKeys, EndpointKeys, Tunnel
from portico.cli.flags import FLAGS
from portico.cli.reference import main, pages
from portico.model.errors import all_codes


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """The pages, made once: that takes a second or more."""
    return pages()


def test_every_flag_key_and_error_is_there(written: dict[str, str]) -> None:
    for flag in FLAGS:
        assert f"`{flag.name}`" in written["cli.md"]
    for model in (AgentKeys, EndpointKeys, Tunnel):
        for name in model.known:
            assert f"`{name}" in written["agent-config.md"]
    for code in all_codes():
        assert f"`{code}`" in written["errors.md"]
    assert "`--domain`" in written["edge-settings.md"]
    assert "portico.forward" in written["sdk.md"]


def test_tables_have_as_many_cells_as_columns(written: dict[str, str]) -> None:
    for text in written.values():
        width = 0
        for line in text.splitlines():
            cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
            assert not cells or not width or cells == width
            width = cells


def test_stale_pages_are_told(
    written: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portico.cli.reference.pages", lambda: written)
    where = ["--directory", str(tmp_path / "reference")]
    assert main([*where, "--check"]) == 1
    assert main(where) == 0
    assert main([*where, "--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("old")
    capsys.readouterr()
    assert main([*where, "--check"]) == 1
    assert "cli.md is not what the code says" in capsys.readouterr().err
