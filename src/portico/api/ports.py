"""What the API wants of the node that it speaks for; the edge provides it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from portico.model.acl import Acl
from portico.model.acme import AutomaticState
from portico.model.endpoint import EndpointUrl

if TYPE_CHECKING:
    from portico.store.cloud_endpoints import CloudEndpoint


@dataclass(frozen=True, slots=True)
class LiveSession:
    """An agent's session."""

    id: str
    owner_id: str
    credential_id: str
    remote: str
    """The agent's address, `host:port`."""
    agent_version: str
    os: str
    metadata: str
    transport: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class LiveEndpoint:
    """What is online: its public URL and what it leads to."""

    id: str
    session_id: str | None
    """The agent's session; None where the edge reaches the upstreams itself."""
    owner_id: str
    url: EndpointUrl
    started_at: datetime
    name: str = ""
    description: str = ""
    metadata: str = ""
    forwards_to: str = ""
    upstream_protocol: str = ""
    pooling: bool = False
    traffic_policy: str = ""
    credential_id: str = ""
    """By which its agent came in."""
    labels: dict[str, str] = field(default_factory=dict)


class Node(Protocol):
    """What is live, and how a change takes effect. The async methods return when it has, and raise nothing."""

    @property
    def domain(self) -> str:
        """The edge's own domain."""

    @property
    def tcp_ports(self) -> range:
        """The ports that tcp endpoints may have."""

    def sessions(self) -> list[LiveSession]:
        """All live sessions."""

    def endpoints(self) -> list[LiveEndpoint]:
        """All live endpoints, one for each bind."""

    def holders(self, place: str) -> set[str]:
        """Ids of the owners who are online under a host name, or `tcp:<port>`. May be called in any thread."""

    def domain_name(self, host: str) -> str:
        """The one spelling of a name that may be reserved; one label stands under the edge's domain.

        Raises PorticoError: URL_INVALID, or DOMAIN_RESERVED for the edge's own names. May be called in any thread.
        """

    def endpoint_url(self, url: EndpointUrl) -> EndpointUrl:
        """The URL that somebody who asks for `url` gets: its name spelled in the one way, with this edge's ports.

        Raises PorticoError: URL_INVALID, PORT_OUT_OF_RANGE, or DOMAIN_RESERVED. May be called in any thread.
        """

    async def serve(self, endpoint: "CloudEndpoint") -> None:
        """Put a cloud endpoint online, or serve it as it is now.

        Raises PorticoError with the rule that forbids it: then everything is as before.
        """

    async def withdraw(self, endpoint: "CloudEndpoint") -> None:
        """Take a cloud endpoint offline."""

    def automatic_certificate(self, host: str) -> AutomaticState | None:
        """How the automatic certificate that serves a name does. May be called in any thread."""

    async def command(self, session_id: str, command: str) -> None:
        """Have an agent `stop`, `restart` or `update`. Raises PorticoError(AGENT_REFUSED)."""

    async def revoked(self, credential_id: str) -> None:
        """A credential is gone: end its sessions."""

    async def acl_changed(self, credential_id: str, acl: Acl) -> None:
        """A credential's rules are others now."""

    async def reservations_changed(self) -> None:
        """Domains or addresses have been reserved or given free."""

    async def policy_data_changed(self, owner_id: str, word: str) -> None:
        """What traffic policies of an owner read that name `word` has changed: an IP policy's id, or `secrets.get`."""

    async def certificates_changed(self) -> None:
        """Uploaded certificates, or the domains that name them, have changed."""
