"""What a policy reads that this very edge cannot tell, which its author is to hear before the endpoint is online."""

from functools import lru_cache
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.model.errors import NOT_SERVED, PorticoError
from portico.translate.policy.facts import GEO, refuse_unknown_places

_SERVERS: Final = "conn.tls.server."


def refuse_unknown_facts(endpoint: Endpoint | None, frame: EdgeFrame) -> None:
    """Raises PorticoError(NOT_SERVED) where its policy reads a database that is not there, or is one of bytes."""
    if endpoint is None or not endpoint.traffic_policy:
        return
    variables = _variables(endpoint.traffic_policy)
    if not endpoint.is_http:
        for name in sorted(variables):
            if name in GEO or name.startswith(_SERVERS):
                raise PorticoError(
                    NOT_SERVED,
                    f"{name} cannot be had on an endpoint of {endpoint.url.scheme}: Envoy tells it of requests alone",
                    fix="Leave the variable out, or use an https endpoint.",
                )
    refuse_unknown_places(variables, frame.geoip)


@lru_cache(256)
def _variables(text: str) -> frozenset[str]:
    # Imported here: its 150 ms of CPU time are for the first endpoint with a policy, not for every start.
    from portico.policy.document import read_policy
    from portico.translate.policy.carried import variables_of

    return variables_of(read_policy(text).policy)
