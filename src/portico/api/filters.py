"""`filter=` on lists: which fields of an answer a filter may name, and whether an entry is wanted."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

from portico.api.resource import Resource
from portico.api.shapes import Ref, View
from portico.model.errors import API_FILTER_INVALID, PorticoError
from portico.policy.expressions import Fault
from portico.policy.list_filter import TEXT, TIME, ListFilter, compile_filter

_TYPES: Final = {str: TEXT, bool: "bool", int: "int", datetime: TIME}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The entries that a filter lets through."""

    resource: Resource[Any]
    filter: ListFilter

    def has(self, view: View) -> bool:
        """Whether this entry is wanted. Raises PorticoError(API_FILTER_INVALID)."""
        values = dict(_values(view, "obj"))
        values |= {f"obj.{name}": value for name, value in self.resource.filter_values(view, self.filter.texts).items()}
        found = self.filter.matches(values)
        if isinstance(found, Fault):
            raise _invalid((found,))
        return found


def wanted(resource: Resource[Any], text: str) -> Wanted:
    """What a caller asked for. Raises PorticoError(API_FILTER_INVALID) with everything that is wrong."""
    fields = {**dict(_fields(resource.view, "obj")), **{f"obj.{name}": TEXT for name in resource.filter_fields}}
    found = compile_filter(text, tuple(fields.items()))
    if not isinstance(found, ListFilter):
        raise _invalid(found)
    return Wanted(resource, found)


def _invalid(faults: tuple[Fault, ...]) -> PorticoError:
    lines = tuple(f"1:{fault.offset + 1}: filter: {fault.text}" for fault in faults)
    message = "\n".join(f"filter: character {fault.offset + 1}: {fault.text}" for fault in faults)
    return PorticoError(API_FILTER_INVALID, message, problems=lines)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Each field with its type in CEL's words; what may be null, or is a list, has any."""
    for name, info in model.model_fields.items():
        path, kind = f"{prefix}.{name}", info.annotation
        union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
        plain = next(part for part in typing.get_args(kind) if part is not type(None)) if union else kind
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            yield path, "dyn"
            yield from ((inner, kind if kind == TIME else "dyn") for inner, kind in _fields(plain, path))
        elif union and plain not in (str, datetime):
            yield path, "dyn"
        else:
            yield path, _TYPES.get(plain, "dyn")  # type: ignore[arg-type]


def _values(view: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, info in type(view).model_fields.items():
        path, value = f"{prefix}.{name}", getattr(view, name)
        if isinstance(value, BaseModel):
            yield path, value.id if isinstance(value, Ref) else True
            yield from _values(value, path)
        elif isinstance(value, list | dict):
            yield path, _plain(value) or None
        elif value is not None:
            yield path, value
        else:
            below = ((path, ""), *_fields_below(info.annotation, path))
            yield from ((inner, None) for inner, kind in below if kind != TIME and not _is_time(info.annotation))


def _is_time(kind: Any) -> bool:
    return datetime in typing.get_args(kind)


def _fields_below(kind: Any, path: str) -> Iterator[tuple[str, str]]:
    for part in typing.get_args(kind):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from _fields(part, path)


def _plain(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in value]
