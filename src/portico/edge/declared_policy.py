"""Traffic policies of the settings' endpoints: written there, or in a file of their own."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from portico.edge.settings_values import parse_path, text_of
from portico.model.endpoint import EndpointUrl
from portico.model.errors import PorticoError
from portico.yaml_source import KeyPath

_STEP: Final = re.compile(r"[^.\[\]]+|\[(\d+)\]")


class PolicyError(ValueError):
    """What is wrong with a policy: each thing with its place below the setting."""

    def __init__(self, faults: Sequence[tuple[KeyPath, str]]) -> None:
        super().__init__("\n".join(text for _, text in faults))
        self.faults = faults


def read_inline_policy(value: object) -> str:
    """The text of a policy that the settings hold, as keys or as text. Raises PolicyError, ValueError."""
    if isinstance(value, Mapping):
        _check(value, "")
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        raise ValueError("a policy is written as keys, or as text")  # noqa: TRY004  (pydantic gathers ValueErrors)
    _check(value, "line ")
    return value


def read_policy_file(value: object) -> str:
    """The text of the policy in the named file. Raises PolicyError, ValueError."""
    path = parse_path(value)
    text = text_of(path, "utf-8")
    _check(text, f"{path}:")
    return text


def refuse_endless(policy: str, url: EndpointUrl) -> None:
    """Where nothing stands behind an endpoint its policy must have an action that ends requests. Raises ValueError."""
    from portico.policy.document import read_policy

    if not any(action.config.ends() for action in read_policy(policy).policy.actions()):
        raise ValueError(f"{url}: its policy never ends a request, and there are no upstreams behind it")


def _check(policy: str | Mapping[str, object], where: str) -> None:
    # Imported here: its 150 ms of CPU time are for the first policy, not for every start.
    from portico.policy.check import check_policy, errors
    from portico.policy.served import served_policy

    _, problems = check_policy(policy)
    if wrong := errors(problems):
        raise PolicyError([(_path(one.place), f"{where}{one.mark}: {one}" if where else str(one)) for one in wrong])
    try:
        served_policy(policy)
    except PorticoError as error:
        raise PolicyError([((), f"{where.removesuffix('line ')}{error.message}")]) from None


def _path(place: str) -> KeyPath:
    """`on_http_request[0].actions[1].config` as the keys that lead there."""
    return tuple(int(step[1]) if step[1] else step[0] for step in _STEP.finditer(place))
