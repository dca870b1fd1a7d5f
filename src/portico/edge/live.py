"""What the REST API may see of this node and do to it: the edge's side of `api/ports.py`."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from portico.api.ports import LiveEndpoint, LiveSession
from portico.certificates.uploads import Upload, Uploads
from portico.edge.agents import Agents
from portico.edge.cloud import Cloud
from portico.edge.node import SSH_RELAY
from portico.edge.publisher import Publisher
from portico.edge.registry import LiveBind, Registry, Session
from portico.edge.relay_links import RelayLinks
from portico.model.acl import Acl
from portico.model.acme import AutomaticState
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import AGENT_REFUSED, PorticoError
from portico.model.names import covers
from portico.model.owner import DEFAULT_OWNER, Owner
from portico.model.x509 import read_key_pair_facts
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.store import Store
from portico.translate.resource import Resource

log = logging.getLogger(__name__)


class Reservations:
    """What of the store the registry and the choice of certificates need at hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.operator: Owner
        """The owner that the first start made."""
        self.domains: list[tuple[str, str]] = []
        """Each reserved name with its owner's name."""
        self.ports: list[tuple[int, str]] = []
        self._owner_ids: dict[str, str] = {}
        self.uploads = Uploads(self._may_serve)
        self.read()

    def read(self) -> None:
        """Take what the store says now."""
        with self._store.read() as unit:
            owners = unit.owners.all()
            names = {owner.id: owner.name for owner in owners}
            domains, certificates = unit.domains.all(), unit.tls_certificates.all()
            self.ports = [(addr.port, names[addr.owner_id]) for addr in unit.reserved_addrs.all()]
        self.operator = next(owner for owner in owners if owner.name == DEFAULT_OWNER)
        self.domains = [(domain.name, names[domain.owner_id]) for domain in domains]
        self._owner_ids = {domain.name: domain.owner_id for domain in domains}
        self.uploads.replace(
            (Upload(one.id, one.owner_id, one.pair, read_key_pair_facts(one.pair)) for one in certificates),
            {domain.name: domain.certificate_id for domain in domains if domain.certificate_id},
        )

    def _may_serve(self, owner_id: str, host: str) -> bool:
        """The operator's certificates stand for every name, those of others for names that they have reserved."""
        if owner_id == self.operator.id:
            return True
        return any(holder == owner_id and covers(name, host) for name, holder in self._owner_ids.items())


@dataclass(frozen=True, slots=True)
class CertificatesInUse:
    """What Envoy has of certificates that may change."""

    secrets: Callable[[], Iterable[Resource]]
    """The certificates that Envoy has asked for, as they should be now."""
    outdated: Callable[[], Iterable[EndpointUrl]]
    """The endpoints that were published with another certificate than is uploaded for them now."""


class Live:
    """Implements `api.ports.Node`."""

    def __init__(
        self,
        registry: Registry,
        agents: Agents,
        links: RelayLinks,
        publisher: Publisher,
        reservations: Reservations,
        in_use: CertificatesInUse,
        automatic: Callable[[str], AutomaticState | None],
        cloud: Cloud,
    ) -> None:
        self._naming = registry.naming
        self._registry = registry
        self._agents = agents
        self._links = links
        self._publisher = publisher
        self._reservations = reservations
        self._in_use = in_use
        self._automatic = automatic
        self._cloud = cloud

    @property
    def domain(self) -> str:
        """The edge's own domain."""
        return self._naming.domain

    @property
    def tcp_ports(self) -> range:
        """The ports that tcp endpoints may have."""
        return self._naming.tcp_ports

    def sessions(self) -> list[LiveSession]:
        """All live sessions."""
        return [_live_session(session) for session in self._registry.sessions]

    def endpoints(self) -> list[LiveEndpoint]:
        """All live endpoints of agents and of the settings, one for each bind."""
        return [
            _live_endpoint(bind, session)
            for bind in self._registry.binds()
            if not bind.request.cloud and (session := self._registry.session(bind.session)) is not None
        ]

    def holders(self, place: str) -> set[str]:
        """Ids of the owners who are online there."""
        return self._registry.holders(place)

    def domain_name(self, host: str) -> str:
        """The one spelling of a name that may be reserved. Raises PorticoError: URL_INVALID or DOMAIN_RESERVED."""
        return self._naming.named(Scheme.HTTPS, host).host

    def endpoint_url(self, url: EndpointUrl) -> EndpointUrl:
        """The URL that somebody who asks for `url` gets. Raises PorticoError."""
        return self._naming.asked_for(url)

    async def serve(self, endpoint: CloudEndpoint) -> None:
        """Put a cloud endpoint online, or serve it as it is now. Raises PorticoError: then all is as before."""
        request = await asyncio.to_thread(self._cloud.request, endpoint)
        change = self._cloud.put(endpoint, request)
        try:
            for url in change.urls:
                await self._publisher.refresh(url)
        except PorticoError:
            self._cloud.undo(change)
            self._agents.publish_later(change.urls)
            raise
        log.info("cloud endpoint online", extra={"url": str(change.bind.url), "id": endpoint.id})

    async def withdraw(self, endpoint: CloudEndpoint) -> None:
        """Take a cloud endpoint offline."""
        url = self._cloud.take(endpoint)
        if url is not None:
            await self.refresh([url])

    def automatic_certificate(self, host: str) -> AutomaticState | None:
        """How the automatic certificate that serves a name does."""
        return self._automatic(host)

    async def command(self, session_id: str, command: str) -> None:
        """Have an agent `stop`, `restart` or `update`. Raises PorticoError(AGENT_REFUSED)."""
        session = self._registry.session(session_id)
        error = "its session has ended"
        if session is not None:
            error = await self._links.command(session.relay, session.id, command, {})
        if error:
            raise PorticoError(AGENT_REFUSED, f"the agent did not {command}: {error}")

    async def revoked(self, credential_id: str) -> None:
        """A credential is gone: end its sessions."""
        self._agents.dismiss(credential_id, "its credential was revoked")

    async def acl_changed(self, credential_id: str, acl: Acl) -> None:
        """A credential's rules are others now."""
        self._registry.change_acl(credential_id, acl)

    async def reservations_changed(self) -> None:
        """Domains or addresses have been reserved or given free."""
        self._reservations.read()
        await self.refresh(self._registry.reserve(self._reservations.domains, self._reservations.ports))
        await self._replace_certificates()

    async def policy_data_changed(self, owner_id: str, word: str) -> None:
        """Publish what reads it anew."""
        endpoints = (endpoint for url in self._registry.urls if (endpoint := self._registry.endpoint(url)))
        await self.refresh([one.url for one in endpoints if one.owner == owner_id and word in one.traffic_policy])

    async def certificates_changed(self) -> None:
        """Uploaded certificates, or the domains that name them, have changed."""
        self._reservations.read()
        await self._replace_certificates()

    async def refresh(self, urls: Iterable[EndpointUrl]) -> None:
        """Publish what is served there now; what cannot be published is logged."""
        for url in urls:
            try:
                await self._publisher.refresh(url)
            except PorticoError as error:
                log.error("a change is not published", extra={"url": str(url), "reason": error.message})

    async def _replace_certificates(self) -> None:
        await self.refresh(self._in_use.outdated())
        try:
            await self._publisher.replace(self._in_use.secrets())
        except PorticoError as error:
            log.error("certificates are not published", extra={"code": str(error.code), "reason": error.message})


def _live_session(session: Session) -> LiveSession:
    return LiveSession(
        id=session.id,
        owner_id=session.owner.id,
        credential_id=session.credential,
        remote=session.remote,
        agent_version=session.agent_version or session.user_agent,
        os=session.os,
        metadata=session.metadata,
        transport="ssh" if session.relay == SSH_RELAY else "ngrok/v2",
        started_at=datetime.fromtimestamp(session.started, UTC),
    )


def _live_endpoint(bind: LiveBind, session: Session) -> LiveEndpoint:
    request = bind.request
    is_http = bind.url.scheme in (Scheme.HTTP, Scheme.HTTPS)
    return LiveEndpoint(
        id=bind.id,
        session_id=bind.session if session.relay else None,
        owner_id=session.owner.id,
        url=bind.url,
        started_at=datetime.fromtimestamp(bind.started, UTC),
        name=request.name,
        description=request.description,
        metadata=request.metadata,
        forwards_to=request.forwards_to,
        upstream_protocol=f"http{request.upstream_http}" if is_http else "",
        pooling=request.pooling,
        traffic_policy=request.traffic_policy,
        credential_id=session.credential,
        labels=request.labels,
    )
