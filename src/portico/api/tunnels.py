"""`/tunnels`: the same live binds as `/endpoints`, in the words of ngrok's older clients."""

from collections.abc import Iterable
from datetime import datetime

from portico.api.endpoints import PREFIX as ENDPOINT
from portico.api.endpoints import TUNNEL
from portico.api.live_resource import LiveResource, Named
from portico.api.ports import LiveEndpoint
from portico.api.resource import Call
from portico.api.shapes import Ref, View
from portico.api.tunnel_sessions import PREFIX as SESSION


class TunnelView(View):
    """A tunnel."""

    public_url: str
    started_at: datetime
    metadata: str
    proto: str
    region: str
    tunnel_session: Ref
    endpoint: Ref
    labels: dict[str, str]
    backends: list[Ref]
    forwards_to: str


class TunnelResource(LiveResource[LiveEndpoint]):
    """Tunnels."""

    name = "tunnels"
    noun = "tunnel"
    about = "What agents serve now."
    view = TunnelView
    prefix = TUNNEL

    def everything(self, call: Call) -> Iterable[LiveEndpoint]:
        """All that agents serve."""
        return (endpoint for endpoint in call.node.endpoints() if endpoint.session_id)

    def show(self, call: Call, value: Named[LiveEndpoint]) -> TunnelView:
        """One tunnel."""
        bind = value.live
        session, endpoint = f"{SESSION}{bind.session_id}", ENDPOINT + bind.id
        return TunnelView(
            id=value.id,
            uri=call.uri(self.name, value.id),
            public_url=str(bind.url),
            started_at=bind.started_at,
            metadata=bind.metadata,
            proto=str(bind.url.scheme),
            region=call.node.domain,
            tunnel_session=Ref(id=session, uri=call.uri("tunnel_sessions", session)),
            endpoint=Ref(id=endpoint, uri=call.uri("endpoints", endpoint)),
            labels=bind.labels,
            backends=[],
            forwards_to=bind.forwards_to,
        )
