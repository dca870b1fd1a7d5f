"""The text of a policy, JSON or YAML, as plain values that remember the line and the column of each character.

Aliases are refused, because one may stand for any number of copies of what it names; so is what is nested very deep.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from portico.policy.problems import Mark, Problem, Severity

KeyPath = tuple[str | int, ...]
MAX_TEXT: Final = 262_144
"""Characters; a policy with ten certificate authorities has about 30,000."""
_MAX_DEPTH: Final = 60
_LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_OPEN: Final = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSE: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_CHARACTERS: Final = {
    '"': re.compile(r"\\(?:x..|u....|U........|.)|.", re.DOTALL),
    "'": re.compile(r"''|.", re.DOTALL),
}
"""What stands for one character inside quotes."""
_PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)")
"""A character beyond U+FFFF as JSON escapes it (RFC 8259, 7)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one value begins, and YAML's node of it."""

    mark: Mark
    node: yaml.Node | None = None


@dataclass(slots=True)
class PolicyText:
    """What was read: `values` are plain, `problems` say what is no YAML, and every path has its mark."""

    values: object = None
    problems: list[Problem] = field(default_factory=list)
    source: str = field(default="", repr=False)
    spots: dict[KeyPath, Spot] = field(default_factory=dict, repr=False)

    def mark(self, path: KeyPath) -> Mark:
        """Where the key or list entry at `path` begins, or the nearest above it."""
        while path and path not in self.spots:
            path = path[:-1]
        spot = self.spots.get(path)
        return spot.mark if spot else Mark()

    def mark_in(self, path: KeyPath, offset: int) -> Mark:
        """Where character `offset` of the text at `path` stands; its beginning where folding hides that."""
        spot = self.spots.get(path)
        node = spot.node if spot else None
        if not isinstance(node, yaml.ScalarNode):
            return self.mark(path)
        start = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        if node.style == "|":
            return self._in_block(node, offset) or start
        raw = self.source[node.start_mark.index : node.end_mark.index]
        if "\n" in raw:
            return start
        if node.style in _CHARACTERS:
            characters = list(_CHARACTERS[node.style].finditer(raw, 1, len(raw) - 1))
            behind = characters[offset].start() if offset < len(characters) else len(raw) - 1
            return Mark(start.line, start.column + behind)
        return Mark(start.line, start.column + offset)

    def _in_block(self, node: yaml.ScalarNode, offset: int) -> Mark | None:
        before = str(node.value)[:offset]
        number, column = before.count("\n"), offset - (before.rfind("\n") + 1)
        lines = self.source.split("\n")
        at = node.start_mark.line + 1 + number
        wanted = str(node.value).split("\n")[number]
        if at >= len(lines) or not lines[at].rstrip("\r").endswith(wanted):
            return None
        return Mark(at + 1, len(lines[at].rstrip("\r")) - len(wanted) + column + 1)


def read_text(policy: str | Mapping[str, object]) -> PolicyText:
    """Read the text, or take the object that older SDKs send instead of one. Never raises."""
    if not isinstance(policy, str):
        return PolicyText(policy)
    found = PolicyText(source=_as_yaml(policy))
    try:
        _read(found)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        _wrong(found, where, f"this is neither JSON nor YAML: {error.problem or 'not understood'}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ReaderError (a character that YAML forbids) has no mark, only an index.
        index = getattr(error, "position", 0)
        line = found.source.count("\n", 0, index) + 1
        reason = getattr(error, "reason", "not understood")
        _wrong(found, Mark(line, 1), f"this is neither JSON nor YAML: {reason}")
    return found


def _as_yaml(text: str) -> str:
    """JSON as YAML reads it: YAML has no tabs between values, and no pairs of surrogates.

    The place of every character stays as it is, but for what follows such a pair on its line.
    """
    if not text.lstrip().startswith("{") or not ("\t" in text or "\\ud" in text.lower()):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _PAIR.sub(_one_character, text.replace("\t", " "))


def _one_character(pair: re.Match[str]) -> str:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF):08X}"


def _read(found: PolicyText) -> None:
    text = found.source
    if len(text) > MAX_TEXT:
        _wrong(found, Mark(1, 1), f"the traffic policy is longer than {MAX_TEXT} characters")
        return
    depth = 0
    for token in yaml.scan(text, Loader=_LOADER):
        depth += isinstance(token, _OPEN) - isinstance(token, _CLOSE)
        mark = Mark(token.start_mark.line + 1, token.start_mark.column + 1)
        if isinstance(token, yaml.AliasToken):
            _wrong(found, mark, "a YAML alias has no place in a traffic policy; write the value out")
            return
        if depth > _MAX_DEPTH:
            _wrong(found, mark, f"nested deeper than {_MAX_DEPTH} levels")
            return
    node = yaml.compose(text, Loader=_LOADER)
    found.values = None if node is None else _value(found, node, ())


def _value(found: PolicyText, node: yaml.Node, path: KeyPath) -> object:
    mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
    found.spots[path] = Spot(mark, node)
    if isinstance(node, yaml.MappingNode):
        return dict(_entries(found, node, path))
    if isinstance(node, yaml.SequenceNode):
        return [_value(found, item, (*path, number)) for number, item in enumerate(node.value)]
    return _scalar(node)


def _entries(found: PolicyText, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, object]]:
    seen = set()
    for key_node, value_node in node.value:
        mark = Mark(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key_node, yaml.ScalarNode) or not isinstance(_scalar(key_node), str):
            _wrong(found, mark, f"{shown(path) or 'the traffic policy'} has a key that is no text", path)
            continue
        key = str(key_node.value)
        if key in seen:
            _wrong(found, mark, f"{key[:60]} is given twice", path)
        seen.add(key)
        inner = (*path, key)
        yield key, _value(found, value_node, inner)
        found.spots[inner] = Spot(mark, value_node)


def _scalar(node: yaml.Node) -> object:
    text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind in ("int", "float"):
        return _number(text)
    return text


def _number(text: str) -> object:
    try:
        value: object = yaml.load(text, Loader=_LOADER)  # noqa: S506  (a SafeLoader in both cases)
    except (yaml.YAMLError, ValueError, OverflowError):
        return text
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, int | float) and finite else text


def _wrong(found: PolicyText, mark: Mark, text: str, path: KeyPath = ()) -> None:
    found.problems.append(Problem(Severity.ERROR, mark, shown(path), text))


def shown(path: KeyPath) -> str:
    """`on_http_request[0].name` of its parts."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in path)
    return "".join(parts).removeprefix(".")
