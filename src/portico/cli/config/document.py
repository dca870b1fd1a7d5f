"""Files to one `Document`: merge them, read version 2 as 3, and tell everything that is wrong at once.

Of several files the later one wins: mappings are merged key by key, lists and plain values are replaced.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from portico.cli.config.models import AgentKeys, Document
from portico.cli.config.section import MISSING, Fault, Section, SectionError
from portico.model.errors import CONFIG_INVALID, PorticoError
from portico.yaml_source import KeyPath, Place, Problem, Source, parse, read_text

V2_TO_V3: Final = {"server_addr": "connect_url", "root_cas": "connect_cas"}
_OTHER_NAMES: Final = {**V2_TO_V3, **{new: old for old, new in V2_TO_V3.items()}, "auth": "basic_auth"}
_TOP_V2: Final = frozenset({"version", "tunnels"})


def load(files: Sequence[Path]) -> Document:
    """The merged and validated document of `files`. Raises PorticoError; CONFIG_INVALID tells all problems at once."""
    return validate([parse(read_text(file), str(file)) for file in files])


def validate(sources: Sequence[Source]) -> Document:
    """The document that `sources` make together. Raises PorticoError(CONFIG_INVALID) with one line a problem."""
    problems = [problem for source in sources for problem in source.problems]
    merged = Source(sources[0].file if sources else "")
    for source in sources:
        _merge(merged, as_version_3(source, problems))
    try:
        document = Document.read(merged.values)
    except SectionError as error:
        problems += _told(error.faults, merged)
    if problems:
        order = [source.file for source in sources]
        problems.sort(key=lambda problem: (order.index(problem.place.file), problem.place.line))
        raise PorticoError(CONFIG_INVALID, "\n".join(dict.fromkeys(map(str, problems))))
    return document


def as_version_3(source: Source, problems: list[Problem]) -> Source:
    """`source` in the form of version 3; `problems` grows by an unknown version and another version's keys."""
    version = str(source.values.get("version", "")) if source.values else "3"
    if version == "3":
        return source
    if version != "2":
        place = source.place(("version",))
        missing = "version" not in source.values
        problems.append(
            Problem(place, "version: is missing; add `version: 3`" if missing else "version: must be 2 or 3")
        )
        return Source(source.file)
    names = {V2_TO_V3.get(key, key): key for key in source.values if key not in V2_TO_V3.values()}
    theirs = V2_TO_V3.values() & source.values.keys()
    problems += [_unknown(source.place((key,)), key, [_OTHER_NAMES[key]]) for key in theirs]
    agent = {new: source.values[old] for new, old in names.items() if old not in _TOP_V2}
    values: dict[str, object] = {"version": "2", "agent": agent}
    places: dict[KeyPath, Place] = {(): source.place(()), ("agent",): source.place(())}
    if "tunnels" in source.values:
        values["tunnels"] = source.values["tunnels"]
    for path, place in source.places.items():
        if path and path[0] in _TOP_V2:
            places[path] = place
        elif path:
            places["agent", V2_TO_V3.get(str(path[0]), path[0]), *path[1:]] = place
    return Source(source.file, values, places)


def _merge(base: Source, later: Source) -> None:
    base.values = _merged(base.values, later.values)
    base.places |= later.places


def _merged(base: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in later.items():
        if value is None:
            continue  # a key without a value counts as absent
        below = result.get(key)
        if isinstance(value, dict):
            result[key] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = [_without_absent(item) for item in value] if isinstance(value, list) else value
    return result


def _without_absent(value: object) -> object:
    return _merged({}, value) if isinstance(value, dict) else value


def _told(faults: Sequence[Fault], source: Source) -> Iterator[Problem]:
    for fault in faults:
        place, name = source.place(fault.path), str(fault.path[-1]) if fault.path else ""
        if fault.instead_of is not None:
            yield _unknown(place, name, _names(fault.instead_of, source))
        elif fault.words == MISSING:
            yield Problem(place, f"{place.key}.{name}: {fault.words}")
        else:
            yield Problem(place, f"{place.key}: {fault.words}" if place.key else fault.words)


def _unknown(place: Place, name: str, valid: Sequence[str]) -> Problem:
    near = nearest(name, valid)
    hint = f"; did you mean {near}?" if near else ""
    return Problem(place, f"{place.key or name}: unknown key{hint}")


def nearest(name: str, valid: Sequence[str]) -> str | None:
    """The one of `valid` that somebody who wrote `name` most likely meant."""
    other = _OTHER_NAMES.get(name)
    if other in valid:
        return other
    import difflib

    found = difflib.get_close_matches(name.lower().replace("-", "_"), valid, n=1, cutoff=0.6)
    return found[0] if found else None


def _names(section: type[Section], source: Source) -> list[str]:
    """The keys of `section`, by the names that this file's version gives them."""
    if section is not AgentKeys or source.values.get("version") != "2":
        return list(section.known)
    back = {new: old for old, new in V2_TO_V3.items()}
    return [back.get(name, name) for name in section.known]
