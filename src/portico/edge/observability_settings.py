"""The settings of what operators see of visitors: access log, figures of endpoints, traces."""

import os
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, SecretStr

from portico.edge.settings_part import OFF_IS_NONE, Setting, SettingsPart
from portico.edge.settings_values import parse_path, parse_switch
from portico.model.observability import AccessLog, LogForm, Tracing

_PORTS: Final = {"http": 4318, "https": 4318, "grpc": 4317, "grpcs": 4317}
"""OTLP's own; https://opentelemetry.io/docs/specs/otlp/"""
_PATH: Final = "/v1/traces"


def parse_log_file(value: object) -> Path | None:
    """A path that can be written; `stdout` is None."""
    if value is None or value == "stdout":
        return None
    path = parse_path(value).absolute()
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{str(path)!r} cannot be written: its directory has to be there, and writable")
    return path


def parse_collector(value: object) -> str | None:
    """The URL of an OTLP collector; `off` is None."""
    if value is None or value is False or value == "off":
        return None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        usable = parts is not None and parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts is None or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("this is not the URL of a collector: write http://HOST:4318 or grpc://HOST:4317")
    if parts.scheme.startswith("grpc") and parts.path not in ("", "/"):
        raise ValueError("the URL of a collector of gRPC has no path")
    return parts.geturl()


class ObservabilitySettings(SettingsPart):
    """All of it is off by default: it costs time of each request."""

    access_log: Annotated[
        Literal["json", "text", "off"],
        BeforeValidator(lambda value: "off" if value is False else value),
        Setting("json|text|off"),
    ] = "off"
    """A line for each request, and for each connection of tls and tcp endpoints."""
    access_log_file: Annotated[Path | None, PlainValidator(parse_log_file), Setting("FILE|stdout", "stdout")] = None
    """Where those lines go; SIGUSR1 opens the file anew, after it was renamed."""
    access_log_query: Annotated[bool, PlainValidator(parse_switch), Setting("on|off", "off")] = False
    """Whether queries are written too; they may hold secrets."""
    endpoint_metrics: Annotated[Annotated[int, Field(ge=1, le=10_000)] | None, OFF_IS_NONE, Setting("N|off", "off")] = (
        None
    )
    """Endpoints with figures of their own in /metrics, first come, first served; those of all others are one sum."""
    tracing_endpoint: Annotated[str | None, PlainValidator(parse_collector), Setting("URL|off", "off")] = None
    """OpenTelemetry collector: http(s)://HOST:4318 or grpc(s)://HOST:4317."""
    tracing_percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Setting("PERCENT")] = 100
    """Share of requests that are traced."""
    tracing_join: Annotated[bool, PlainValidator(parse_switch), Setting("on|off", "on")] = True
    """Whether a trace that a visitor's `traceparent` names is carried on; else each begins at the edge."""
    tracing_headers: Annotated[dict[str, SecretStr], Setting("mapping", "none", flag=False)] = Field(
        default_factory=dict
    )
    """What the collector wants to be shown, such as `authorization`."""

    def access_log_rules(self) -> AccessLog | None:
        """The same as `translate` takes it."""
        if self.access_log == "off":
            return None
        path = str(self.access_log_file) if self.access_log_file else ""
        return AccessLog(LogForm(self.access_log), path, self.access_log_query)

    def tracing_rules(self) -> Tracing | None:
        """The same as `translate` takes it."""
        if self.tracing_endpoint is None:
            return None
        parts = urlsplit(self.tracing_endpoint)
        return Tracing(
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            grpc=parts.scheme.startswith("grpc"),
            tls=parts.scheme.endswith("s"),
            path=parts.path if parts.path not in ("", "/") else _PATH,
            percent=self.tracing_percent,
            join=self.tracing_join,
            headers=tuple((name, value.get_secret_value()) for name, value in self.tracing_headers.items()),
        )
