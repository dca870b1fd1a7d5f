"""What a policy reads that this very edge cannot tell, which its author is to hear before the endpoint is online."""

from functools import lru_cache

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.model.errors import NOT_SERVED, PorticoError
from portico.translate.policy.facts import FINGERPRINT, refuse_unknown_places


def refuse_unknown_facts(endpoint: Endpoint | None, frame: EdgeFrame) -> None:
    """Raises PorticoError(NOT_SERVED) where its policy reads a database that is not there, or unknown fingerprints."""
    if endpoint is None or not endpoint.traffic_policy:
        return
    variables = _variables(endpoint.traffic_policy)
    refuse_unknown_places(variables, frame.geoip)
    if FINGERPRINT in variables and not frame.fingerprints:
        raise PorticoError(
            NOT_SERVED,
            f"{FINGERPRINT} cannot be had: this edge takes no fingerprints of handshakes",
            fix="Ask the edge's operator for `tls_fingerprints`, or leave the variable out.",
        )


@lru_cache(256)
def _variables(text: str) -> frozenset[str]:
    # Imported here: its 150 ms of CPU time are for the first endpoint with a policy, not for every start.
    from portico.policy.document import read_policy
    from portico.translate.policy.carried import variables_of

    return variables_of(read_policy(text).policy)
