"""`terminate-tls`: how TLS ends at the edge (https://ngrok.com/docs/traffic-policy/actions/terminate-tls/).

Here the fields are read; whether certificates and keys are fit is checked where the Bind's own are (`agent_options`).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from portico.model.endpoint import ClientVerification, KeyPair, TlsVersion
from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.policy.document import Action, refuse_unknown

TYPE: Final = "terminate-tls"
PHASES: Final = ("on_tcp_connect", "on_tls_request")
"""ngrok's reference names the first; the second stands in one of its examples."""
FIELDS: Final = (
    "min_version",
    "max_version",
    "server_certificate",
    "server_private_key",
    "mutual_tls_certificate_authorities",
    "mutual_tls_verification_strategy",
)
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class TerminateTls:
    """The action's fields; None where it leaves one to its default."""

    key_pair: KeyPair | None = None
    authorities: str | None = field(default=None, repr=False)
    """PEM of the CAs that may sign visitors' certificates, and of their CRLs."""
    verification: ClientVerification = ClientVerification.REQUIRE
    minimum: TlsVersion = TlsVersion.TLS_1_2
    maximum: TlsVersion = TlsVersion.TLS_1_3


def terminate_tls(actions: list[Action]) -> TerminateTls | None:
    """What the policy says of TLS. Raises PorticoError: NOT_SERVED for any other action, BIND_INVALID."""
    for action in actions:
        _refuse_other(action)
    if len(actions) > 1:
        raise PorticoError(BIND_INVALID, f"{actions[1].place} is a second {TYPE}; an endpoint has one")
    return _read(actions[0]) if actions else None


def _refuse_other(action: Action) -> None:
    if action.type != TYPE:
        raise PorticoError(
            NOT_SERVED,
            f"{action.place}: this edge does not offer traffic policies with the action {action.type[:60]!r}, "
            f"only with {TYPE}",
        )
    if action.phase not in PHASES:
        raise PorticoError(BIND_INVALID, f"{action.place}: {TYPE} belongs into the phase {PHASES[0]}")
    if action.conditional:
        raise PorticoError(NOT_SERVED, f"{action.place}: this edge does not offer {TYPE} under expressions")


def _read(action: Action) -> TerminateTls:
    place = f"{action.place}.config"
    refuse_unknown(action.config, FIELDS, place)
    settings = TerminateTls(
        key_pair=_key_pair(action, place),
        authorities=_authorities(action, place),
        verification=_choice(action, place, FIELDS[5], ClientVerification.REQUIRE),
        minimum=_choice(action, place, "min_version", TlsVersion.TLS_1_2),
        maximum=_choice(action, place, "max_version", TlsVersion.TLS_1_3),
    )
    if settings.minimum > settings.maximum:
        raise PorticoError(BIND_INVALID, f"{place}: min_version is greater than max_version")
    if settings.authorities is None and action.config.get(FIELDS[5]) is not None:
        raise PorticoError(BIND_INVALID, f"{place}: {FIELDS[5]} needs {FIELDS[4]}")
    return settings


def _choice(action: Action, place: str, name: str, default: _Choice) -> _Choice:
    value = action.config.get(name)
    if value is None:
        return default
    kind = type(default)
    try:
        return kind(str(value))  # YAML reads 1.2 as a number
    except ValueError:
        raise PorticoError(BIND_INVALID, f"{place}: {name} is one of {', '.join(kind)}") from None


def _key_pair(action: Action, place: str) -> KeyPair | None:
    certificate, key = (_text(action, place, name) for name in ("server_certificate", "server_private_key"))
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise PorticoError(BIND_INVALID, f"{place}: server_certificate and server_private_key need each other")
    return KeyPair(certificate, key)


def _text(action: Action, place: str, name: str) -> str:
    value = action.config.get(name)
    if value is not None and not isinstance(value, str):
        raise PorticoError(BIND_INVALID, f"{place}: {name} is no text")
    return value or ""


def _authorities(action: Action, place: str) -> str | None:
    value = action.config.get(FIELDS[4])
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise PorticoError(BIND_INVALID, f"{place}: {FIELDS[4]} is no list of PEM texts")
    if any(each.startswith("ca_") for each in value):
        raise PorticoError(NOT_SERVED, f"{place}: this edge takes authorities as PEM, not by id")
    return "\n".join(value)
