"""One key changed, everything else left; version 2 rearranged into 3 without loss."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.cli.config.document import validate
from portico.cli.config.upgrade import upgraded
from portico.cli.config.writing import set_agent_key, with_agent_key, write_private
from portico.model.errors import CONFIG_INVALID, CONFIG_MISSING, PorticoError
from portico.yaml_source import parse


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "version: 3\nagent:\n  authtoken: new\n"),
        ("# only\n", "# only\nversion: 3\nagent:\n  authtoken: new\n"),
        ("version: 3\n", "version: 3\nagent:\n  authtoken: new\n"),
        ("version: 3\nagent:\n", "version: 3\nagent:\n  authtoken: new\n"),
        ("version: 3\nagent:\n  authtoken:\n", "version: 3\nagent:\n  authtoken: new\n"),
        ("version: 3\nagent: {authtoken: 'old'} # x", "version: 3\nagent: {authtoken: new} # x"),
        ("version: 3\nagent: {}", "version: 3\nagent: {authtoken: new}"),
        ("agent:\n    log: x\nversion: 3", "agent:\n    authtoken: new\n    log: x\nversion: 3"),
        ("version: 2\nlog: x\n", "version: 2\nauthtoken: new\nlog: x\n"),
    ],
)
def test_a_key_is_set_where_it_belongs(before: str, after: str) -> None:
    assert with_agent_key(before, "authtoken", "new", "f.yml") == after


def test_what_cannot_be_set_is_said() -> None:
    with pytest.raises(PorticoError) as caught:
        with_agent_key("- a\n", "authtoken", "new", "f.yml")
    assert caught.value.code is CONFIG_INVALID


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1).filter(str.isprintable))
def test_any_printable_value_is_read_back(value: str) -> None:
    for text in ("", "version: 2\n", "version: 3\nagent: {log: x}\n"):
        read = validate([parse(with_agent_key(text, "metadata", value, "f"), "f")]) if len(value) <= 4096 else None
        assert read is None or read.agent.metadata == value


def test_files_are_private_and_replaced_through_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yml", tmp_path / "link.yml"
    real.write_text("version: 3\n")
    real.chmod(0o644)
    link.symlink_to(real)
    set_agent_key(link, "authtoken", "t")
    assert link.is_symlink()
    assert "authtoken: t" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert {file.name for file in tmp_path.iterdir()} == {"real.yml", "link.yml"}


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PorticoError) as caught:
        write_private(tmp_path / "file" / "portico.yml", "")
    assert caught.value.code is CONFIG_MISSING


@pytest.mark.parametrize(
    "text",
    [
        "version: 2\nauthtoken: a\n",
        "authtoken: a\nroot_cas: host\n",
        "{version: 2, authtoken: a}\n",
        "---\nversion: '2'\nmetadata: |\n  two\n\n  lines\nserver_addr: 'e:443'\n",
        "version: 2\nmetadata: >-\n  folded\n  text\ntunnels:\n  a:\n    proto: tcp\n    addr: 22\n",
        "version: 2\nmetadata: 'quoted\n\n  over lines'\nlog: x # why\n",
        "version: 2\ntunnels: &all\n  a: &one {proto: tcp, addr: 22}\n  b: *one\n",
        "# c\nversion: 2\n# only a tunnel\ntunnels: {a: {proto: tcp, addr: 22}}",
        "",
        "# nothing\n",
    ],
)
def test_an_upgrade_changes_the_form_only(text: str) -> None:
    after = upgraded(text, "f.yml")
    assert parse(after, "f.yml").values["version"] == "3"
    with_version = text if "version" in text else f"version: 2\n{text}"
    before = validate([parse(with_version, "f.yml")]).replaced(version="3")
    assert validate([parse(after, "f.yml")]) == before
    assert upgraded(after, "f.yml") == after
    for comment in ("# c", "# why", "# nothing", "# only a tunnel"):
        assert (comment in text) == (comment in after)
