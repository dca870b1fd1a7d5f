"""Reads a YAML file into plain values, and remembers the line of each key."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from portico.model.errors import CONFIG_MISSING, SETTING_INVALID, PorticoError

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and places in lists, e.g. `("owners", 0, "name")`."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file says, and where."""

    path: Path
    values: dict[str, object]
    lines: dict[KeyPath, int]
    problems: tuple[str, ...]
    """Keys that stand twice, each as one line for the reader."""

    def place(self, path: KeyPath) -> str:
        """`file:line` of a key, or of the nearest thing around it that has a line."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"


def read_yaml(path: Path) -> YamlFile:
    """Read a mapping. Raises PorticoError(CONFIG_MISSING or SETTING_INVALID) where there is none to read."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise PorticoError(CONFIG_MISSING, f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PorticoError(SETTING_INVALID, f"cannot read {path}: {reason}") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> YamlFile:
    """As `read_yaml`, for text that was read already."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlFile(path, {}, {}, ())
        lines: dict[KeyPath, int] = {}
        problems = tuple(_walk(node, (), _Walk(path, lines, set())))
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PorticoError(SETTING_INVALID, f"{path}:{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PorticoError(SETTING_INVALID, f"{path}: not YAML: {_first_line(error)}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise PorticoError(SETTING_INVALID, f"{path}:1: the file has to be a mapping of settings, `key: value`")
    return YamlFile(path, values, lines, problems)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@dataclass(frozen=True, slots=True)
class _Walk:
    file: Path
    lines: dict[KeyPath, int]
    seen: set[int]
    """Nodes that were entered: an alias (`*name`) repeats a node, and may even be inside of what it repeats."""


def _walk(node: yaml.Node, at: KeyPath, walk: _Walk) -> Iterator[str]:
    """Notes the line of every key below `node`; yields what PyYAML lets pass in silence: a key that stands twice."""
    if id(node) in walk.seen:
        return
    walk.seen.add(id(node))
    lines = walk.lines
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                yield f"{walk.file}:{line}: {key.value!r} stands here a second time; the first is in line {lines[here]}"
            lines[here] = line
            yield from _walk(value, here, walk)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*at, index)] = value.start_mark.line + 1
            yield from _walk(value, (*at, index), walk)
