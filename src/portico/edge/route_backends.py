"""Where the routes of the settings lead: services that the edge reaches itself, or what serves another endpoint."""

import hashlib
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from portico.edge.bind_request import PoolRequest
from portico.edge.settings_part import Setting, SettingsPart
from portico.edge.settings_values import parse_url, sound
from portico.edge.upstream_settings import UpstreamSettings, spelled_out
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.route import NO_CHANGES, Backend, HeaderChanges, Mirror
from portico.translate.route_values import changed_name_fault, host_fault, value_fault

MAX_MEMBERS: Final = 1_000
_HTTP: Final = (Scheme.HTTP, Scheme.HTTPS)
_Name: TypeAlias = Annotated[str, AfterValidator(sound(changed_name_fault))]
_Value: TypeAlias = Annotated[str, AfterValidator(sound(value_fault))]


def spelled_backend(value: object) -> object:
    """`- http://10.0.0.5:8080` is short for an object with that upstream."""
    return value if isinstance(value, dict | SettingsPart) else {"upstreams": [value]}


class HeaderSettings(SettingsPart):
    """Changes of headers."""

    set: Annotated[dict[_Name, _Value], Setting("mapping", "none")] = Field(default_factory=dict)
    """Headers in place of those that are there."""
    add: Annotated[dict[_Name, _Value], Setting("mapping", "none")] = Field(default_factory=dict)
    """Headers beside those that are there."""
    remove: Annotated[tuple[_Name, ...], Setting("list", "none")] = ()
    """Headers that are taken away."""


def changes(settings: HeaderSettings | None) -> HeaderChanges:
    """The same as a route has it."""
    if settings is None:
        return NO_CHANGES
    return HeaderChanges(tuple(settings.set.items()), tuple(settings.add.items()), settings.remove)


class PoolSettings(SettingsPart):
    """Something that serves requests."""

    endpoint: Annotated[EndpointUrl | None, PlainValidator(parse_url), Setting("URL", "none")] = None
    """Another endpoint of this edge: requests go to whatever serves it, by now or later."""
    upstreams: Annotated[
        tuple[Annotated[UpstreamSettings, BeforeValidator(spelled_out)], ...],
        Field(max_length=MAX_MEMBERS),
        Setting("list", "none"),
    ] = ()
    """Services that the edge reaches itself, instead of an endpoint."""
    upstream_protocol: Annotated[Literal["http1", "http2"], Setting("http1|http2")] = "http1"
    """HTTP version to speak to the upstreams."""
    proxy_protocol: Annotated[bool, Setting("true|false")] = False
    """Whether connections to the upstreams begin with a PROXY v2 header."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.endpoint is None) == (not self.upstreams):
            raise ValueError("give endpoint or upstreams, one of the two")
        if self.endpoint is not None and self.model_fields_set & {"upstream_protocol", "proxy_protocol"}:
            raise ValueError("upstream_protocol and proxy_protocol are said where the endpoint comes from")
        return self

    @property
    def pool(self) -> str:
        """The name of the pool, which tells its members and how they are spoken to."""
        if self.endpoint is not None:
            return str(self.endpoint)
        first, more = self.upstreams[0].url, len(self.upstreams) - 1
        text = repr((self.upstreams, self.upstream_protocol, self.proxy_protocol))
        return f"{first}{f'+{more}' if more else ''}#{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"

    def shown(self) -> list[str]:
        """Its members as they are written."""
        return [str(self.endpoint)] if self.endpoint is not None else [upstream.url for upstream in self.upstreams]

    def request(self, *, http: bool) -> PoolRequest:
        """What is asked of the registry, for an endpoint that speaks HTTP or not. Raises ValueError."""
        if self.endpoint is not None:
            if (self.endpoint.scheme in _HTTP) is not http:
                kinds = "http and https" if http else "tls and tcp"
                raise ValueError(f"{self.endpoint} is no pool for this endpoint, whose pools are {kinds} ones")
            return PoolRequest(self.pool, endpoint=self.endpoint)
        if not http and "upstream_protocol" in self.model_fields_set:
            raise ValueError("upstream_protocol is for http and https")
        addresses = tuple(upstream.address(http=http) for upstream in self.upstreams)
        version = 2 if self.upstream_protocol == "http2" else 1
        return PoolRequest(self.pool, addresses, upstream_http=version, proxy_protocol=self.proxy_protocol)


class BackendSettings(PoolSettings):
    """A share of a route's requests, or of its connections."""

    weight: Annotated[int, Field(ge=0, le=1_000_000), Setting("N")] = 1
    """Its share beside the others'; 0 for none."""
    host_header: Annotated[
        Annotated[str, AfterValidator(sound(host_fault))] | None, Setting("HOST", "the visitor's")
    ] = None
    """Host header for this backend alone."""
    request_headers: Annotated[HeaderSettings | None, Setting("object", "none")] = None
    """Changes of the request's headers for this backend alone."""
    response_headers: Annotated[HeaderSettings | None, Setting("object", "none")] = None
    """Changes of the headers of its responses."""

    def declared(self) -> Backend:
        """The same as a route has it."""
        sides = changes(self.request_headers), changes(self.response_headers)
        return Backend(self.pool, self.weight, *sides, self.host_header)


class MirrorSettings(PoolSettings):
    """Somebody who gets copies of requests."""

    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Setting("PERCENT")] = 100
    """How many of the requests."""

    def declared(self) -> Mirror:
        """The same as a route has it."""
        return Mirror(self.pool, round(self.percent * 10_000))
