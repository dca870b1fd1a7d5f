"""Version 2 to version 3, keeping comments and order where the text allows it.

Version 3 puts the agent's keys under `agent:` and renames two of them; `tunnels:` stays, because what its entries can
say (`basic_auth`, `oauth` …) has no other word in version 3 than a traffic policy.
"""

import yaml

from portico.cli.config.document import V2_TO_V3, as_version_3, validate
from portico.yaml_source import Source, compose, parse


def upgraded(text: str, file: str) -> str:
    """`text` in version 3; the same text where it is that already. Raises PorticoError(CONFIG_INVALID)."""
    source = parse(text, file)
    if not source.values:
        return text.rstrip() + "\nversion: 3\n" if text.strip() else "version: 3\n"
    if "version" not in source.values:
        text = f"version: {3 if 'agent' in source.values else 2}\n{text}"
        source = parse(text, file)
    before = validate([source]).replaced(version="3")
    if source.values["version"] == "3":
        return text
    rearranged = _rearranged(text, file)
    if rearranged is not None and validate([parse(rearranged, file)]) == before:
        return rearranged
    return _rewritten(source)


def _rearranged(text: str, file: str) -> str | None:
    """The blocks of the top level in their new places, or None where the top level is no plain block mapping."""
    root = compose(text, file)
    if not isinstance(root, yaml.MappingNode) or root.flow_style or root.start_mark.column:
        return None
    lines = text.splitlines()
    starts = [key.start_mark.line for key, _ in root.value]
    firsts = [_with_comments(lines, start, floor) for start, floor in zip(starts, [-1, *starts], strict=False)]
    head = lines[: firsts[0]]
    agent: list[str] = []
    tunnels: list[str] = []
    for (key, _), first, start, end in zip(root.value, firsts, starts, [*firsts[1:], len(lines)], strict=True):
        block = lines[first:end]
        if key.value == "version":
            head += block[: start - first]
            head.append("version: 3")
            head += block[start - first + 1 :]
        elif key.value == "tunnels":
            tunnels += block
        else:
            name = V2_TO_V3.get(key.value, key.value)
            block[start - first] = name + block[start - first][key.end_mark.column :]
            agent += [f"  {line}" if line.strip() else "" for line in block]
    while agent and not agent[0]:
        agent.pop(0)
    return "\n".join([*head, *(["agent:", *agent] if agent else []), *tunnels]).rstrip() + "\n"


def _with_comments(lines: list[str], start: int, floor: int) -> int:
    """The line where the comments right above the key at `start` begin; `floor` is the line of the key before it."""
    first = start
    while first - 1 > floor and lines[first - 1].startswith("#"):
        first -= 1
    return first


def _rewritten(source: Source) -> str:
    values = {**as_version_3(source, []).values, "version": 3}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
