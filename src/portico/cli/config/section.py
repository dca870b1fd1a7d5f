"""A part of the configuration file as an immutable value: keys with a reader, a default and a meaning.

Reading tells everything that is wrong at once. Declaring costs next to nothing, because an agent declares all of them
before its first visitor is answered: pydantic, which the edge's settings are checked with, needs 0.1 s for as many.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Self, dataclass_transform

KeyPath = tuple[str | int, ...]

MISSING: Final = "is missing"
NOT_A_MAPPING: Final = "must be a mapping of keys to values"
_REQUIRED: Final = object()


class Fault:
    """One thing that is wrong with the value at `path`; `instead_of` is set for a key that nobody knows."""

    __slots__ = ("instead_of", "path", "words")

    def __init__(self, path: KeyPath, words: str, instead_of: "type[Section] | None" = None) -> None:
        self.path = path
        self.words = words
        self.instead_of = instead_of
        """The section that has other keys."""


class SectionError(ValueError):
    """What was read is wrong in at least one way."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, fault.path))}: {fault.words}" for fault in faults))
        self.faults = faults


class Reader:
    """How a value is read."""

    words: str
    """What it takes, for the reference; empty where `section` says it."""
    section: "type[Section] | None" = None
    """The section that it takes, if it does."""

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """The value as the model has it. `faults` grows by what is wrong; the result counts for nothing then."""
        raise NotImplementedError


class Key:
    """One key of a section."""

    __slots__ = ("about", "default", "reader")

    def __init__(self, reader: Reader, default: object, about: str) -> None:
        self.reader = reader
        self.default = default
        self.about = about

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is _REQUIRED


def field(reader: Reader, about: str = "", *, default: object = _REQUIRED) -> Any:
    """Declares a key in the body of a `Section`, whose annotation must be what `reader` gives."""
    return Key(reader, default, about)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Section:
    """Immutable, and closed to keys that it does not declare. A key without a value counts as absent."""

    known: ClassVar[Mapping[str, Key]] = {}
    """Its keys, in the order of the reference."""

    def __init_subclass__(cls) -> None:
        cls.known = {name: value for name, value in vars(cls).items() if isinstance(value, Key)}
        for name in cls.known:
            delattr(cls, name)

    def __init__(self, **values: Any) -> None:
        """Values as the model has them, checked already."""
        given = {name: values.pop(name) if name in values else key.default for name, key in self.known.items()}
        wrong = [*values, *(name for name, value in given.items() if value is _REQUIRED)]
        if wrong:
            raise TypeError(f"{type(self).__name__}: {', '.join(wrong)} unknown or missing")
        vars(self).update(given)

    @classmethod
    def read(cls, values: object) -> Self:
        """From plain values, as YAML and flags give them. Raises SectionError."""
        faults: list[Fault] = []
        section = cls.read_part(values, (), faults)
        if section is None:
            raise SectionError(faults)
        return section

    @classmethod
    def read_part(cls, values: object, path: KeyPath, faults: list[Fault]) -> Self | None:
        """The same below `path`; None where `faults` has grown."""
        before = len(faults)
        if not isinstance(values, dict):
            faults.append(Fault(path, NOT_A_MAPPING))
            return None
        made = {}
        for name, key in cls.known.items():
            if values.get(name) is not None:
                made[name] = key.reader.read(values[name], (*path, name), faults)
            elif key.required:
                faults.append(Fault((*path, name), MISSING))
        faults += [Fault((*path, name), "unknown key", cls) for name in values if name not in cls.known]
        if len(faults) == before:
            section = cls(**made)
            faults += [Fault(path, words) for words in section.conflicts()]
        return section if len(faults) == before else None

    def conflicts(self) -> Iterator[str]:
        """What is wrong with its values together, each of which is right."""
        yield from ()

    def replaced(self, **values: Any) -> Self:
        """The same with other values, checked already."""
        return type(self)(**{**vars(self), **values})

    def over(self, values: dict[str, Any]) -> Self:
        """The same with `values`, all of known keys, read over it. Raises SectionError."""
        faults: list[Fault] = []
        made = self.replaced(
            **{name: self.known[name].reader.read(value, (name,), faults) for name, value in values.items()}
        )
        faults += [] if faults else [Fault((), words) for words in made.conflicts()]
        if faults:
            raise SectionError(faults)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # some values are mappings

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
