"""`/endpoints`: the URLs that are online, and cloud endpoints, which are made, changed and removed here."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from portico.api.live_resource import Named, newest_first, seen
from portico.api.policy_text import check_policy_text
from portico.api.ports import LiveEndpoint, Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, Ref, Text, Update, View
from portico.api.tunnel_sessions import PREFIX as SESSION
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import BINDING_INVALID, NOT_CLOUD, NOT_SERVED, PorticoError
from portico.model.names import is_internal_host

if TYPE_CHECKING:
    from portico.store.cloud_endpoints import CloudEndpoint, CloudEndpoints
    from portico.store.store import Unit

PREFIX = "ep_"
TUNNEL = "tn_"
PUBLIC = "public"
INTERNAL = "internal"

_Url = Annotated[
    Text,
    Field(
        max_length=300,
        description="`https://host`, `http://host`, `tls://host`, `tcp://host:port`; a host name alone means https.",
    ),
]
_Bindings = Annotated[list[Literal["public", "internal", "kubernetes"]], Field(max_length=1)]
_BINDINGS = "`public`, or `internal` for names that end in `.internal`; left out, the name says."
_POOLING = "Whether others that pool may have the same URL."
_PolicyText = Annotated[Text, Field(max_length=262_144, description="A traffic policy, YAML or JSON, that answers.")]
Listed: TypeAlias = "Named[LiveEndpoint] | CloudEndpoint"


class EndpointCreate(Create):
    """A new cloud endpoint."""

    url: _Url
    type: Literal["cloud"] = Field(default="cloud", description="Only `cloud`; agents make their endpoints themselves.")
    traffic_policy: _PolicyText
    bindings: _Bindings | None = Field(default=None, description=_BINDINGS)
    pooling_enabled: bool | None = Field(default=None, description=_POOLING)


class EndpointUpdate(Update):
    """Changes of a cloud endpoint."""

    url: _Url | None = None
    traffic_policy: _PolicyText | None = None
    bindings: _Bindings | None = Field(default=None, description=_BINDINGS)
    pooling_enabled: bool | None = Field(default=None, description=_POOLING)


class EndpointView(View):
    """An endpoint."""

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


class EndpointResource(StoredResource[Any]):
    """Endpoints."""

    name = "endpoints"
    noun = "endpoint"
    about = (
        "What is online now, one entry for each agent that serves a URL, and for each declared in the settings; and "
        "cloud endpoints, which a traffic policy answers. Only these are made, changed and removed here."
    )
    view = EndpointView
    create_body = EndpointCreate
    update_body = EndpointUpdate
    may_fail = True
    filters = ("id", "url")
    filter_fields = ("binding",)

    def records(self, unit: "Unit") -> "CloudEndpoints":
        """Where cloud endpoints are."""
        return unit.cloud_endpoints

    def page(self, call: Call, unit: "Unit", before_id: str | None, limit: int) -> "Sequence[Listed]":
        """What agents and the settings serve, and cloud endpoints, in falling order of ids."""
        ids, urls = (set(call.query.get(name, ())) for name in self.filters)
        listed: list[Listed] = [Named(PREFIX + one.id, one) for one in seen(call, unit, call.node.endpoints())]
        listed += unit.cloud_endpoints.within(call.caller.scope)
        wanted = (one for one in listed if (not ids or one.id in ids) and (not urls or str(_url(call, one)) in urls))
        return newest_first(wanted, before_id, limit)

    def find(self, call: Call, unit: "Unit", ident: str) -> "Listed | None":
        """The one of this id."""
        stored = unit.cloud_endpoints.find(ident, call.caller.scope)
        if stored is not None:
            return stored
        live = seen(call, unit, call.node.endpoints())
        return next((Named(ident, one) for one in live if PREFIX + one.id == ident), None)

    def filter_values(self, view: EndpointView, texts: frozenset[str]) -> dict[str, object]:
        """ngrok's filters say `agent` where its clients know `ephemeral`."""
        in_words = "agent" if "agent" in texts and view.type == "ephemeral" else view.type
        return {"binding": view.bindings[0], "type": in_words}

    def prepare(self, call: Call, body: EndpointCreate | EndpointUpdate) -> None:
        """The policy can be checked without the store."""
        if body.traffic_policy is not None:
            check_policy_text(body.traffic_policy, "traffic_policy")

    def create(self, call: Call, unit: "Unit", owner_id: str, body: EndpointCreate) -> "tuple[CloudEndpoint, str]":
        """Keep it; whether its name is free is known once it is online."""
        url = _wanted(call, body.url)
        _check_binding(url, body.bindings)
        made = unit.cloud_endpoints.add(
            owner_id,
            url,
            body.traffic_policy,
            pooling=bool(body.pooling_enabled),
            description=body.description,
            note=body.metadata,
        )
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "CloudEndpoint", body: EndpointUpdate) -> dict[str, object]:
        """What of it will be others."""
        _check_cloud(value)
        url = _url(call, value) if body.url is None else _wanted(call, body.url)
        _check_binding(url, body.bindings)
        given = {"traffic_policy": body.traffic_policy, "pooling": body.pooling_enabled}
        changes = {column: wanted for column, wanted in given.items() if wanted is not None}
        return {**super().changes(call, unit, value, body), **changes, "url": str(url), "updated_at": datetime.now(UTC)}

    def remove(self, call: Call, unit: "Unit", value: "CloudEndpoint") -> None:
        """Remove a cloud endpoint. Raises PorticoError(NOT_CLOUD)."""
        _check_cloud(value)
        super().remove(call, unit, value)

    def show(self, call: Call, value: Listed) -> EndpointView:
        """One endpoint."""
        url = _url(call, value)
        common: dict[str, Any] = {
            "id": value.id,
            "uri": call.uri(self.name, value.id),
            "region": call.node.domain,
            "public_url": str(url),
            "url": str(url),
            "proto": str(url.scheme),
            "scheme": str(url.scheme),
            "hostport": f"{url.host}:{url.port}",
            "host": url.host,
            "port": url.port,
            "bindings": [INTERNAL if is_internal_host(url.host) else PUBLIC],
            "domain": None,
            "tcp_addr": None,
            "edge": None,
        }
        own = _live_fields(call, value.live) if isinstance(value, Named) else _cloud_fields(value)
        return EndpointView(**common, **own)

    async def created(self, node: Node, value: "CloudEndpoint") -> None:
        """Put it online. Raises PorticoError with the rule that forbids it."""
        await node.serve(value)

    async def updated(self, node: Node, value: "CloudEndpoint") -> None:
        """Serve it as it is now. Raises PorticoError with the rule that forbids it."""
        await node.serve(value)

    async def removed(self, node: Node, value: "CloudEndpoint") -> None:
        """Take it offline."""
        await node.withdraw(value)


def _live_fields(call: Call, endpoint: LiveEndpoint) -> dict[str, Any]:
    session, tunnel = endpoint.session_id, TUNNEL + endpoint.id
    return {
        "created_at": endpoint.started_at,
        "updated_at": endpoint.started_at,
        "type": "ephemeral",
        "name": endpoint.name,
        "description": endpoint.description,
        "metadata": endpoint.metadata,
        "pooling_enabled": endpoint.pooling,
        "upstream_url": endpoint.forwards_to,
        "upstream_protocol": endpoint.upstream_protocol or ("tcp" if endpoint.url.scheme is Scheme.TCP else "tls"),
        "traffic_policy": endpoint.traffic_policy,
        "tunnel": _ref(call, "tunnels", tunnel) if session else None,
        "tunnel_session": _ref(call, "tunnel_sessions", SESSION + session) if session else None,
        "principal": Ref(id=endpoint.owner_id, uri=""),
    }


def _cloud_fields(endpoint: "CloudEndpoint") -> dict[str, Any]:
    return {
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "type": "cloud",
        "name": "",
        "description": endpoint.description,
        "metadata": endpoint.note,
        "pooling_enabled": endpoint.pooling,
        "upstream_url": "",
        "upstream_protocol": "",
        "traffic_policy": endpoint.traffic_policy,
        "tunnel": None,
        "tunnel_session": None,
        "principal": Ref(id=endpoint.owner_id, uri=""),
    }


def _url(call: Call, value: Listed) -> EndpointUrl:
    # The ports of an edge may be others than when the endpoint was made.
    return value.live.url if isinstance(value, Named) else call.node.endpoint_url(value.url)


def _wanted(call: Call, text: str) -> EndpointUrl:
    """The URL that was asked for, in its one spelling. Raises PorticoError."""
    return call.node.endpoint_url(EndpointUrl.parse(text if "://" in text else f"https://{text}"))


def _check_binding(url: EndpointUrl, bindings: Sequence[str] | None) -> None:
    if not bindings:
        return
    (binding,) = bindings
    if binding == "kubernetes":
        raise PorticoError(NOT_SERVED, "bindings: this edge has no Kubernetes clusters to bind endpoints in")
    if is_internal_host(url.host) != (binding == INTERNAL):
        raise PorticoError(BINDING_INVALID, f"bindings: {url} and the binding {binding} do not fit together")


def _check_cloud(value: Listed) -> None:
    if isinstance(value, Named):
        whose = "an agent" if value.live.session_id else "the edge's settings"
        raise PorticoError(NOT_CLOUD, f"{value.id} comes from {whose}")


def _ref(call: Call, resource: str, ident: str) -> Ref:
    return Ref(id=ident, uri=call.uri(resource, ident))
