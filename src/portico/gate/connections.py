"""Connections to endpoints of tcp and tls: what their policies do in `on_tcp_connect`, before anything is passed on.

The policy package decides here, which only explains elsewhere. Bytes never come here.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

from portico.gate.byte_endpoints import ByteEndpoint, ByteEndpoints
from portico.gate.visitor_certificate import certificate_values
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import PorticoError
from portico.policy.document import Policy, read_policy
from portico.policy.effects import End
from portico.policy.explain import Explanation, connect
from portico.policy.functions.encodings import to_json
from portico.translate.byte_policies import CERTIFICATE, ENDPOINT, UNKNOWN
from portico.translate.policy.slots import HOPS

log = logging.getLogger(__name__)
_NUMBERS: Final = ("conn.client_port", "conn.server_port")
_VERSION: Final = "conn.tls.version"
_BEGIN: Final = "conn.ts.start"


@dataclass(slots=True)
class Verdict:
    """What becomes of a connection, and what the access log has of it."""

    passes: bool = False
    cluster: str = ""
    """Where to, if not where the visitor came to."""
    facts: dict[str, Any] = field(default_factory=dict)

    def noted(self) -> dict[str, Any]:
        """What Envoy keeps beside the connection, for its access log and its choice of a cluster."""
        return {**self.facts, **({"cluster": self.cluster} if self.passes and self.cluster else {})}

    def take(self, explanation: Explanation) -> None:
        """Note which rule and which action were the last, and what is to be logged."""
        fired = [ran for ran in explanation.rules if ran.fires or ran.refused]
        if fired:
            self.facts["rule"] = fired[-1].name or fired[-1].place
        if done := [one.type for ran in fired for one in ran.done]:
            self.facts["action"] = done[-1]
        if explanation.logged:
            self.facts["log"] = {**self.facts.get("log", {}), **json.loads(to_json(dict(explanation.logged)))}


class Connections:
    """Decides."""

    def __init__(self, endpoints: ByteEndpoints) -> None:
        self._endpoints = endpoints

    def decide(self, told: Mapping[str, str]) -> Verdict:
        """What becomes of a connection of which Envoy has told this (`translate/byte_policies.py`).

        It is closed where anything is unknown. Raises ValueError where the question makes no sense.
        """
        verdict = Verdict()
        connection = connection_values(told)
        url, find = told.get(ENDPOINT, ""), self._endpoints.find
        for hop in range(HOPS):
            endpoint = find(url)
            if endpoint is None:
                break
            find = partial(self._internal, owner=endpoint.owner, hop=hop + 1)
            values = {**connection, **_endpoint_values(endpoint.url)}
            explanation = connect(_policy(endpoint.policy), values, find)
            verdict.take(explanation)
            if explanation.ending is None:
                verdict.passes = endpoint.serves
                verdict.cluster = endpoint.url if hop else ""
            if explanation.ending is None or explanation.ending.kind is not End.FORWARDED:
                break
            url = explanation.ending.to
        return verdict

    def _internal(self, url: str, *, owner: str, hop: int) -> ByteEndpoint | None:
        """The internal endpoint that a policy of `owner` names, for the `hop`th time."""
        try:
            wanted = EndpointUrl.parse(url)
        except PorticoError:
            return None
        if hop == HOPS or wanted.scheme not in (Scheme.TCP, Scheme.TLS):
            return None
        found = self._endpoints.find(str(wanted))
        return found if found is not None and found.owner == owner else None


def connection_values(told: Mapping[str, str]) -> dict[str, Any]:
    """The variables of a connection, by whole name. Raises ValueError."""
    known = {name: text for name, text in told.items() if name.startswith("conn.") and text not in ("", UNKNOWN)}
    values: dict[str, Any] = {name: int(text) if name in _NUMBERS else text for name, text in known.items()}
    if _VERSION in values:
        values[_VERSION] = values[_VERSION].removeprefix("TLSv")
    if _BEGIN in values:
        values[_BEGIN] = datetime.fromisoformat(values[_BEGIN])
    if CERTIFICATE in values:
        values |= certificate_values(values.pop(CERTIFICATE))
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**values, "time.now": now, "vars": {}}


def _endpoint_values(text: str) -> dict[str, Any]:
    url = EndpointUrl.parse(text)
    return {
        "endpoint.addr": f"{url.host}:{url.port}",
        "endpoint.host": url.host,
        "endpoint.port": url.port,
        "endpoint.protocol": str(url.scheme),
        "endpoint.url": text,
    }


@lru_cache(256)
def _policy(text: str) -> Policy:
    return read_policy(text).policy if text else Policy()
