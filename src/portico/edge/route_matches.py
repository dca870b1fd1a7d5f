"""What the requests of a route must be, as the settings file says it."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.edge.settings_part import Setting, SettingsPart
from portico.edge.settings_values import sound
from portico.model.route import EVERY_PATH, FieldMatch, Match, PathKind, PathMatch, grpc_path
from portico.translate.route_values import (
    MAX_PATH,
    header_name_fault,
    literal_path_fault,
    method_fault,
    parameter_fault,
    regex_fault,
)

LiteralPath: TypeAlias = Annotated[str, AfterValidator(sound(literal_path_fault))]
HeaderName: TypeAlias = Annotated[str, AfterValidator(sound(header_name_fault))]
Method: TypeAlias = Annotated[str, AfterValidator(sound(method_fault))]
_PathRegex: TypeAlias = Annotated[str, AfterValidator(sound(lambda text: regex_fault(text, MAX_PATH)))]
_Regex: TypeAlias = Annotated[str, AfterValidator(sound(regex_fault))]


class FieldSettings(SettingsPart):
    """What a header or a parameter must be."""

    exact: Annotated[str | None, Setting("TEXT", "none")] = None
    """The text itself."""
    regex: Annotated[_Regex | None, Setting("RE2", "none")] = None
    """An expression for all of it."""
    present: Annotated[Literal[True] | None, Setting("true", "none")] = None
    """It only has to be there."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exact, regex or present, one of them")
        return self

    def match(self, name: str) -> FieldMatch:
        """The same under its name."""
        return FieldMatch(name, self.exact if self.regex is None else self.regex, self.regex is not None)


def _spelled(value: object) -> object:
    """A bare value is short for an object with it."""
    return value if isinstance(value, dict | SettingsPart) else {"exact": value}


_Field: TypeAlias = Annotated[FieldSettings, BeforeValidator(_spelled)]


class GrpcSettings(SettingsPart):
    """Calls of gRPC."""

    service: Annotated[str, Setting("NAME", "any")] = ""
    """Full name of the service, as `music.Search`."""
    method: Annotated[str, Setting("NAME", "any")] = ""
    """Name of the method."""
    regex: Annotated[bool, Setting("true|false")] = False
    """Whether both are RE2 expressions."""


class MatchSettings(SettingsPart):
    """What a request must be, all of it."""

    path: Annotated[LiteralPath | None, Setting("PATH", "any")] = None
    """The whole path."""
    path_prefix: Annotated[LiteralPath | None, Setting("PATH", "any")] = None
    """The path's first segments: `/a` stands for /a and /a/b, not for /ab."""
    path_regex: Annotated[_PathRegex | None, Setting("RE2", "any")] = None
    """An expression for the whole path."""
    grpc: Annotated[GrpcSettings | None, Setting("object", "any")] = None
    """Calls of gRPC, in place of a path."""
    methods: Annotated[tuple[Method, ...], Field(max_length=16), Setting("list", "any")] = ()
    """One of these."""
    headers: Annotated[dict[HeaderName, _Field], Field(max_length=16), Setting("mapping", "any")] = Field(
        default_factory=dict
    )
    """Header and its value, or `{regex: RE2}`, or `{present: true}`; all of them."""
    query: Annotated[
        dict[Annotated[str, AfterValidator(sound(parameter_fault))], _Field],
        Field(max_length=16),
        Setting("mapping", "any"),
    ] = Field(default_factory=dict)
    """The same for the query's parameters."""

    @model_validator(mode="after")
    def _one_path(self) -> Self:
        if len(self.model_fields_set & {"path", "path_prefix", "path_regex", "grpc"}) > 1:
            raise ValueError("give path, path_prefix, path_regex or grpc, one of them")
        if (words := regex_fault(self._path().value, MAX_PATH)) and self.grpc and self.grpc.regex:
            raise ValueError(words)
        return self

    def declared(self) -> Match:
        """The same as an endpoint has it."""
        headers = tuple(field.match(name) for name, field in self.headers.items())
        query = tuple(field.match(name) for name, field in self.query.items())
        return Match(self._path(), self.methods, headers, query)

    def _path(self) -> PathMatch:
        if self.grpc is not None:
            return grpc_path(self.grpc.service, self.grpc.method, regex=self.grpc.regex)
        for kind, value in (
            (PathKind.EXACT, self.path),
            (PathKind.PREFIX, self.path_prefix),
            (PathKind.REGEX, self.path_regex),
        ):
            if value is not None:
                return PathMatch(kind, value)
        return EVERY_PATH
