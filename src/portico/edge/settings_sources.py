"""Gathers the settings: flag before environment before file before default. Reports every error at once."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from portico.edge.declared_policy import PolicyError
from portico.edge.settings import (
    ENVIRONMENT_PREFIX,
    PARTS,
    EdgeSettings,
    SettingRow,
    reference_rows,
)
from portico.model.errors import SETTING_INVALID, PorticoError
from portico.yaml_source import KeyPath, Source, parse, read_text

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PATHS: Final = {
    "": ("data_dir", "database_file", "access_log_file"),
    "owners": ("authtoken_file",),
    "acme_directories": ("ca_file",),
    "acme_dns": ("command",),
    "endpoints": ("certificate_file", "key_file", "client_ca_file", "traffic_policy_file"),
    "upstreams": ("ca_file",),
}
"""Keys that are paths, by the list whose objects have them."""
_SECRET: Final = (
    ("owners",),
    ("acme_directories",),
    ("acme_dns",),
    ("tracing_headers",),
    ("database",),
    ("database_file",),
)
_MISPLACED: Final = {
    "missing": "this key is missing",
    "model_type": "this has to be an object with keys, `key: value`",
    "dict_type": "this has to be an object with keys, `key: value`",
    "tuple_type": "this has to be a list, each item behind a `-`",
}

# Kubernetes puts these into every container beside a Service that is named `portico-edge`
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK: Final = re.compile(
    ENVIRONMENT_PREFIX + r"(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(TCP|UDP|SCTP)\w*)"
)


def settings_options() -> Callable[[_Command], _Command]:
    """A decorator that gives a click command one option for each setting.

    The command receives them as text, or None where they are not given, under the settings' names: what `load_settings`
    takes as `flags`. The environment is read there, too; an empty variable counts as none.
    """

    def decorate(command: _Command) -> _Command:
        for row in reversed(reference_rows()):
            if row.flag is not None:
                text = f"{row.description} [default: {row.default}]"
                command = click.option(row.flag, row.name, metavar=row.type, default=None, help=text)(command)
        return command

    return decorate


def load_settings(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> EdgeSettings:
    """The settings: flag before environment before file before default.

    Raises PorticoError(SETTING_INVALID) with one line for each thing that is wrong, CONFIG_MISSING without the file.
    """
    rows = reference_rows()
    given = {row.name: _Given(text, row.flag or "") for row in rows if (text := flags.get(row.name)) is not None}
    for row in rows:
        if row.env is not None and environment.get(row.env) and row.name not in given:
            given[row.name] = _Given(environment[row.env], row.env)
    problems = _unknown_variables(rows, environment)
    file = _read(Path(given["config"].text).expanduser()) if "config" in given else None
    values: dict[str, object] = {name: source.text for name, source in given.items()}
    if file is not None:
        problems += map(str, file.problems)
        values = {**_anchored(file.values, Path(file.file).parent), **values}
        if "config" in file.values:
            problems.append(f"{file.place(('config',))}: 'config' cannot stand in the file itself")
    try:
        settings = EdgeSettings.model_validate(values)
    except ValidationError as error:
        problems += _explanations(error, given, file)
    if problems:
        raise PorticoError(SETTING_INVALID, "\n".join(dict.fromkeys(problems)))
    return settings


def _read(path: Path) -> Source:
    return parse(read_text(path, SETTING_INVALID), str(path), typed=True, invalid=SETTING_INVALID)


@dataclass(frozen=True, slots=True)
class _Given:
    """A value from a flag or a variable, and the name of that."""

    text: str
    where: str


def _unknown_variables(rows: Iterable[SettingRow], environment: Mapping[str, str]) -> list[str]:
    known = [row.env for row in rows if row.env]
    return [
        f"{name}: there is no such setting{_nearest(name, known)}"
        for name in sorted(environment)
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name)
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was probably meant; all of them where nothing is near."""
    choices = list(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; the names are {', '.join(choices)}"


def _anchored(part: object, directory: Path, name: str = "") -> Any:
    """The file's values, with its relative paths starting at the file's own directory."""
    if isinstance(part, list):
        return [_anchored(item, directory, name) for item in part]
    if not isinstance(part, dict):
        return part
    paths = _PATHS.get(name, ())
    return {
        key: str(directory / Path(value).expanduser())
        if key in paths and isinstance(value, str) and value != "stdout"
        else _anchored(value, directory, key)
        for key, value in part.items()
    }


def _explanations(error: ValidationError, given: Mapping[str, _Given], file: Source | None) -> list[str]:
    details = error.errors(include_url=False)
    if file is not None:
        details.sort(key=lambda detail: file.place(detail["loc"]).line)
    return [line for detail in details for line in _policy_faults(detail, file) or [_explanation(detail, given, file)]]


def _policy_faults(detail: ErrorDetails, file: Source | None) -> list[str]:
    """Each thing that is wrong with a policy, where it stands."""
    error = detail.get("ctx", {}).get("error")
    if file is None or not isinstance(error, PolicyError):
        return []
    path: KeyPath = detail["loc"]
    return [f"{file.place((*path, *below))}: {_subject(path)}{text}" for below, text in error.faults]


def _explanation(detail: ErrorDetails, given: Mapping[str, _Given], file: Source | None) -> str:
    path: KeyPath = detail["loc"]
    name = str(path[0]) if path else ""
    if name in given:
        return f"{given[name].where}: {_reason(detail, path)}"
    if file is not None:
        return f"{file.place(path)}: {_subject(path)}{_reason(detail, path)}"
    return _subject(path) + _reason(detail, path)


def _subject(path: KeyPath) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{text}: " if text else ""


def _reason(detail: ErrorDetails, path: KeyPath) -> str:
    if detail["type"] == "extra_forbidden":
        lists = [key for key in path[:-1] if isinstance(key, str)]
        part = PARTS.get(lists[-1]) if lists else EdgeSettings
        return f"there is no such key{_nearest(str(path[-1]), part.model_fields if part else ())}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] in _MISPLACED:
        return _MISPLACED[detail["type"]]
    message = detail["msg"][0].lower() + detail["msg"][1:]
    # A misplaced authtoken is a token still: nothing of what stands under these lists is repeated.
    known = isinstance(detail["input"], str | int | float) and path[:1] not in _SECRET
    return f"{message}, not {detail['input']!r}" if known else message
