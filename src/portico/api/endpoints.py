"""`/endpoints`: the public URLs that are online."""

from collections.abc import Iterable
from datetime import datetime

from portico.api.live_resource import LiveResource, Named
from portico.api.ports import LiveEndpoint
from portico.api.resource import Call
from portico.api.shapes import Ref, View
from portico.api.tunnel_sessions import PREFIX as SESSION
from portico.model.endpoint import Scheme

PREFIX = "ep_"
TUNNEL = "tn_"


class EndpointView(View):
    """An endpoint that is served."""

    region: str
    created_at: datetime
    updated_at: datetime
    public_url: str
    url: str
    proto: str
    scheme: str
    hostport: str
    host: str
    port: int
    type: str
    name: str
    description: str
    metadata: str
    bindings: list[str]
    pooling_enabled: bool
    upstream_url: str
    upstream_protocol: str
    traffic_policy: str
    tunnel: Ref | None
    tunnel_session: Ref | None
    principal: Ref
    domain: Ref | None
    tcp_addr: Ref | None
    edge: Ref | None


class EndpointResource(LiveResource[LiveEndpoint]):
    """Endpoints."""

    name = "endpoints"
    noun = "endpoint"
    about = "What is online now, one entry for each agent that serves a URL, and for each declared in the settings."
    view = EndpointView
    prefix = PREFIX
    filters = ("id", "url")

    def everything(self, call: Call) -> Iterable[LiveEndpoint]:
        """All endpoints, or those that the query names."""
        ids, urls = (set(call.query.get(name, ())) for name in self.filters)
        for endpoint in call.node.endpoints():
            if (not ids or PREFIX + endpoint.id in ids) and (not urls or str(endpoint.url) in urls):
                yield endpoint

    def show(self, call: Call, value: Named[LiveEndpoint]) -> EndpointView:
        """One endpoint."""
        endpoint, url, session = value.live, value.live.url, value.live.session_id
        return EndpointView(
            id=value.id,
            uri=call.uri(self.name, value.id),
            region=call.node.domain,
            created_at=endpoint.started_at,
            updated_at=endpoint.started_at,
            public_url=str(url),
            url=str(url),
            proto=str(url.scheme),
            scheme=str(url.scheme),
            hostport=f"{url.host}:{url.port}",
            host=url.host,
            port=url.port,
            type="ephemeral",
            name=endpoint.name,
            description=endpoint.description,
            metadata=endpoint.metadata,
            bindings=["public"],
            pooling_enabled=endpoint.pooling,
            upstream_url=endpoint.forwards_to,
            upstream_protocol=endpoint.upstream_protocol or ("tcp" if url.scheme is Scheme.TCP else "tls"),
            traffic_policy="",
            tunnel=_ref(call, "tunnels", TUNNEL + endpoint.id) if session else None,
            tunnel_session=_ref(call, "tunnel_sessions", SESSION + session) if session else None,
            principal=Ref(id=endpoint.owner_id, uri=""),
            domain=None,
            tcp_addr=None,
            edge=None,
        )


def _ref(call: Call, resource: str, ident: str) -> Ref:
    return Ref(id=ident, uri=call.uri(resource, ident))
