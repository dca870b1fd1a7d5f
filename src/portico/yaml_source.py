"""YAML text to plain values that remember the line they came from.

Agents' files and edges' are read here. In an agent's file scalars stay text, whatever YAML would guess (an authtoken
`12_345` is no number), and the model decides what a text means; only a traffic policy, which is handed on as it is,
keeps YAML's own types. In an edge's file (`typed`) all do.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from portico.model.errors import CONFIG_INVALID, CONFIG_MISSING, ErrorCode, PorticoError

KeyPath = tuple[str | int, ...]
_AS_YAML_SAYS: Final = frozenset({"traffic_policy", "policy"})
_NAMED: Final = ("tunnels",)
"""Where keys are names of the owner's choice, `policy` among them."""
_MOST_NODES: Final = 200_000
_MOST_DEPTH: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file (from 1) and the dotted key as the user wrote it."""

    file: str
    line: int
    key: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(slots=True)
class Source:
    """What one file says, where each key is, and what is already known to be wrong."""

    file: str
    values: dict[str, object] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """The place of `path`, or of the nearest key above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path) or Place(self.file, 1, "")


def read_text(path: Path, invalid: ErrorCode = CONFIG_INVALID) -> str:
    """The text of a file. Raises PorticoError(CONFIG_MISSING | `invalid`)."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise PorticoError(CONFIG_MISSING, f"{path} does not exist") from None
    except OSError as error:
        raise PorticoError(CONFIG_MISSING, f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise PorticoError(invalid, f"{path}: not UTF-8 at byte {error.start}") from None


def parse(text: str, file: str, *, typed: bool = False, invalid: ErrorCode = CONFIG_INVALID) -> Source:
    """Read one YAML document that is a mapping. Raises PorticoError(`invalid`) for what is no YAML."""
    source = Source(file)
    node = compose(text, file, invalid)
    if node is None:
        return source
    if not isinstance(node, yaml.MappingNode):
        raise PorticoError(invalid, f"{file}:1: the file must be a mapping of keys to values")
    values = _Reader(source, invalid).value(node, (), "", typed=typed)
    assert isinstance(values, dict)
    source.values = values
    return source


def compose(text: str, file: str, invalid: ErrorCode = CONFIG_INVALID) -> yaml.Node | None:
    """YAML's own node tree of `text`; None for an empty document. Raises PorticoError(invalid)."""
    try:
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise PorticoError(invalid, f"{file}{line}: {error.problem or 'not valid YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ReaderError (a character that YAML forbids) has no mark.
        reason = getattr(error, "reason", None) or "not valid YAML"
        raise PorticoError(invalid, f"{file}: {reason}") from None


class _Reader:
    """Walks a node tree once; refuses what could grow without bound (an alias may repeat a node many times over)."""

    def __init__(self, source: Source, invalid: ErrorCode) -> None:
        self._source = source
        self._invalid = invalid
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath, shown: str, *, typed: bool) -> object:
        """The plain value of `node`; `typed` where YAML's own types are wanted."""
        self._nodes += 1
        self._source.places[path] = self._place(node, shown)
        if self._nodes > _MOST_NODES or len(path) > _MOST_DEPTH:
            raise PorticoError(self._invalid, f"{self._place(node, shown)}: nested too deeply or repeated too often")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, shown, typed=typed)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.value(item, (*path, index), f"{shown}[{index}]", typed=typed)
                for index, item in enumerate(node.value)
            ]
        return self._scalar(node, shown, typed=typed)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, shown: str, *, typed: bool) -> dict[str, object]:
        values: dict[str, object] = {}
        entries = [(key, value) for key, value in node.value if key.tag != _MERGE]
        for key_node, value_node in entries:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be a word")
                continue
            key = str(key_node.value)
            if key in values:
                self._problem(key_node, f"{key} is given twice")
            inner = (*path, key)
            shown_inner = f"{shown}.{key}" if shown else key
            of_yaml = key in _AS_YAML_SAYS and path != _NAMED
            values[key] = self.value(value_node, inner, shown_inner, typed=typed or of_yaml)
            self._source.places[inner] = self._place(key_node, shown_inner)
        for merged in [value for key, value in node.value if key.tag == _MERGE]:
            values = {**self._merged(merged, path, shown, typed=typed), **values}
        return values

    def _merged(self, node: yaml.Node, path: KeyPath, shown: str, *, typed: bool) -> dict[str, object]:
        """What a merge key (`<<: *defaults`) stands for; of a list the earlier one wins (yaml.org/type/merge.html)."""
        known = dict(self._source.places)
        values: dict[str, object] = {}
        for part in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(part, yaml.MappingNode):
                found = self.value(part, path, shown, typed=typed)
                assert isinstance(found, dict)
                values |= found
            else:
                self._problem(part, "<< takes a mapping, or a list of mappings")
        self._source.places |= known
        return values

    def _scalar(self, node: yaml.Node, shown: str, *, typed: bool) -> object:
        text = str(node.value)
        kind = str(node.tag).removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on")
        if kind not in ("str", "int", "float", "timestamp", "value"):
            self._problem(node, f"{shown}: the YAML tag {node.tag} has no meaning here")
        return _number(text, kind) if typed and kind in ("int", "float") else text

    def _place(self, node: yaml.Node, shown: str) -> Place:
        return Place(self._source.file, node.start_mark.line + 1, shown)

    def _problem(self, node: yaml.Node, text: str) -> None:
        self._source.problems.append(Problem(self._place(node, ""), text))


def _number(text: str, kind: str) -> object:
    """A number as YAML reads it, or the text where JSON could not carry it on."""
    try:
        value: Hashable = yaml.load(text, Loader=_LOADER)  # noqa: S506  (a SafeLoader in both cases)
    except (yaml.YAMLError, ValueError, OverflowError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, int | float) else text
