"""Changing a configuration file: one key at a time with everything else left as it was, and never half a file."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Final

import yaml

from portico.atomic_file import PRIVATE, write_atomically
from portico.cli.config.document import V2_TO_V3
from portico.model.errors import CONFIG_INVALID, CONFIG_MISSING, PorticoError
from portico.yaml_source import compose, parse, read_text

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")


def set_agent_key(path: Path, key: str, value: str) -> None:
    """Write `agent.<key>` (version 3 names) into the file at `path`, which may not exist yet. Raises PorticoError."""
    text = read_text(path) if path.exists() else ""
    write_private(path, with_agent_key(text, key, value, str(path)))


def with_agent_key(text: str, key: str, value: str, file: str) -> str:
    """`text` with `agent.<key>` set, or version 2's name for it at the top; comments and order stay."""
    if compose(text, file) is None:
        return f"{text.rstrip()}\nversion: 3\nagent:\n  {key}: {_quoted(value)}\n".lstrip()
    source = parse(text, file)
    if str(source.values.get("version", "3")) == "2":
        old_names = {new: old for old, new in V2_TO_V3.items()}
        where: tuple[str, ...] = (old_names.get(key, key),)
    else:
        where = ("agent", key)
    changed = _set(text, where, value, file)
    found: object = parse(changed, file).values
    for part in where:
        found = found.get(part) if isinstance(found, dict) else None
    if found != value:
        raise PorticoError(CONFIG_INVALID, f"{file}: {'.'.join(where)} cannot be set here; write it by hand")
    return changed


def _set(text: str, where: tuple[str, ...], value: str, file: str) -> str:
    node = compose(text, file)
    written = _quoted(value)
    for depth, part in enumerate(where):
        assert isinstance(node, yaml.MappingNode)
        found = next((below for key, below in node.value if key.value == part), None)
        rest = where[depth + 1 :]
        if found is None:
            return _insert(text, node, (part, *rest), written)
        if not rest:
            return _replace(text, found, f" {written}" if found.start_mark.index == found.end_mark.index else written)
        if not isinstance(found, yaml.MappingNode):
            indent = "\n" + " " * (node.start_mark.column + 2)
            return _replace(text, found, indent + _entry(rest, written, node.start_mark.column + 2))
        node = found
    raise AssertionError("a path has at least one part")


def _entry(path: tuple[str, ...], written: str, column: int) -> str:
    if len(path) == 1:
        return f"{path[0]}: {written}"
    return f"{path[0]}:\n{' ' * (column + 2)}{_entry(path[1:], written, column + 2)}"


def _insert(text: str, mapping: yaml.MappingNode, path: tuple[str, ...], written: str) -> str:
    """`text` with a new key at the head of `mapping`."""
    start = mapping.start_mark.index
    entry = _entry(path, written, mapping.start_mark.column)
    if mapping.flow_style:
        entry = ": {".join(path) + f": {written}" + "}" * (len(path) - 1)
        return f"{text[: start + 1]}{entry}{', ' if mapping.value else ''}{text[start + 1 :]}"
    if mapping.start_mark.column == 0 and (version := _version_line_end(text, mapping)):
        return f"{text[:version]}\n{entry}{text[version:]}"
    return f"{text[:start]}{entry}\n{' ' * mapping.start_mark.column}{text[start:]}"


def _version_line_end(text: str, mapping: yaml.MappingNode) -> int | None:
    """Where the line of `version:` ends: a new key looks best after it."""
    ends = [value.end_mark.index for key, value in mapping.value if key.value == "version"]
    if not ends:
        return None
    newline = text.find("\n", ends[0])
    return len(text) if newline < 0 else newline


def _replace(text: str, node: yaml.Node, new: str) -> str:
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        with contextlib.suppress(yaml.YAMLError, ValueError):
            if yaml.safe_load(value) == value:
                return value
    return json.dumps(value, ensure_ascii=False)


def write_private(path: Path, text: str) -> None:
    """Replace the file at `path` in one step, readable by its owner only. Raises PorticoError(CONFIG_MISSING)."""
    target = Path(os.path.realpath(path))  # a symbolic link goes on pointing at the file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text, mode=PRIVATE)
    except OSError as error:
        raise PorticoError(
            CONFIG_MISSING,
            f"{target} cannot be written: {error.strerror or error}",
            fix="Check who may write there, or name another file with --config.",
        ) from None
