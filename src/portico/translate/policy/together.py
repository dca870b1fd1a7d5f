"""With whom an endpoint's rate limits are counted, where nodes share a store."""

from dataclasses import dataclass
from typing import Self

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.model.limits import SharedCounts


@dataclass(frozen=True, slots=True)
class Together:
    """The nodes that share a store."""

    endpoint: str
    """Whose limits they are: the same text on all nodes."""
    counts: SharedCounts

    @classmethod
    def of(cls, endpoint: Endpoint, frame: EdgeFrame) -> Self | None:
        """None where this node counts alone."""
        if frame.shared_counts is None:
            return None
        url = endpoint.url
        # Nodes may listen on other ports for the same names.
        own = (frame.https.port, frame.http.port if frame.http else None)
        port = "" if url.port in own else f":{url.port}"
        return cls(f"{endpoint.owner} {url.scheme}://{url.host}{port}", frame.shared_counts)
