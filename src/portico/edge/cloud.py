"""Cloud endpoints: what the store keeps of them, live in the registry from the start, as binds of their owners' own."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portico.edge.bind_request import BindRequest
from portico.edge.checked_tls import checked_tls
from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.registry import LiveBind, Registry, Session
from portico.model.endpoint import EdgeTls, EndpointUrl, Scheme, TlsVersion
from portico.model.errors import BIND_INVALID, DOMAIN_RESERVED, PorticoError
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.store import Store

if TYPE_CHECKING:
    from portico.policy.actions import TerminateTls

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """A cloud endpoint as it was, and as it is now."""

    before: LiveBind | None
    bind: LiveBind
    served: CloudEndpoint | None = None
    """What was served before."""

    @property
    def urls(self) -> set[EndpointUrl]:
        """What has to be published."""
        return {self.bind.url} | ({self.before.url} if self.before else set())


class Cloud:
    """The cloud endpoints of all owners."""

    def __init__(self, registry: Registry, store: Store, minimum: TlsVersion) -> None:
        """`minimum` is the TLS version that this edge demands at least."""
        self._registry = registry
        self._store = store
        self._minimum = minimum
        self._served: dict[str, CloudEndpoint] = {}
        """By id, as they are served."""

    def begin(self) -> None:
        """Put all of them online. One that a rule forbids by now is logged, and the others are served."""
        with self._store.read() as unit:
            stored = unit.cloud_endpoints.all()
        for endpoint in stored:
            try:
                self.put(endpoint, self.request(endpoint))
            except PorticoError as error:
                facts = {"id": endpoint.id, "url": str(endpoint.url), "code": str(error.code), "reason": error.message}
                log.error("a cloud endpoint is not served", extra=facts)

    def request(self, endpoint: CloudEndpoint) -> BindRequest:
        """What is asked of the registry for it. Takes its time, as policies do; may be called in any thread.

        Raises PorticoError with what is wrong with its policy.
        """
        url = endpoint.url
        policy = endpoint_policy([endpoint.traffic_policy], url.scheme)
        return BindRequest(
            url.scheme,
            url.host,
            url.port if url.scheme is Scheme.TCP else None,
            tls=self._tls(url, policy.terminate),
            networks=policy.networks,
            pooling=endpoint.pooling,
            traffic_policy=policy.text,
            cloud=True,
            description=endpoint.description,
            metadata=endpoint.note,
            bind_id=_bind_id(endpoint),
        )

    def put(self, endpoint: CloudEndpoint, request: BindRequest) -> Change:
        """Make the registry know it as it is now. Raises PorticoError with the rule that forbids it."""
        session = self._session(endpoint.owner_id)
        before = self._registry.find_bind(session, request.bind_id)
        change = Change(before, self._bind(session, request), self._served.get(endpoint.id))
        self._served[endpoint.id] = endpoint
        return change

    def undo(self, change: Change) -> None:
        """Back to what was before."""
        self._registry.unbind(change.bind.session, change.bind.id)
        self._served = {ident: one for ident, one in self._served.items() if _bind_id(one) != change.bind.id}
        if change.before is not None and change.served is not None:
            self._bind(change.before.session, change.before.request)
            self._served[change.served.id] = change.served

    def take(self, endpoint: CloudEndpoint) -> EndpointUrl | None:
        """Forget it; the URL that it had."""
        self._served.pop(endpoint.id, None)
        return self._registry.unbind(_session_id(endpoint.owner_id), _bind_id(endpoint))

    def served(self, ident: str) -> CloudEndpoint | None:
        """The one of this id as it is served now."""
        return self._served.get(ident)

    def differing(self, ids: Iterable[str] | None = None) -> list[tuple[str, CloudEndpoint | None]]:
        """Those (of these ids) that are not served as the store has them, each with what it has. For any thread."""
        with self._store.read() as unit:
            stored = unit.cloud_endpoints.all() if ids is None else unit.cloud_endpoints.some(ids)
        kept = {endpoint.id: endpoint for endpoint in stored}
        known = self._served.copy()
        wanted = {*kept, *known} if ids is None else set(ids)
        return [(ident, kept.get(ident)) for ident in sorted(wanted) if kept.get(ident) != known.get(ident)]

    def _bind(self, session: str, request: BindRequest) -> LiveBind:
        address = f"cloud/{request.bind_id}"
        return self._registry.bind(session, request, address, time.monotonic(), started=time.time())

    def _session(self, owner_id: str) -> str:
        ident = _session_id(owner_id)
        if self._registry.session(ident) is None:
            with self._store.read() as unit:
                owner = unit.owners.get(owner_id)
            if owner is None:
                raise PorticoError(DOMAIN_RESERVED, "its owner is gone")
            self._registry.begin_declared(Session(ident, "", ident, 0, owner, "", started=time.time()))
        return ident

    def _tls(self, url: EndpointUrl, terminate: "TerminateTls | None") -> EdgeTls | None:
        if terminate is None:
            return None
        if url.scheme not in (Scheme.HTTPS, Scheme.TLS):
            raise PorticoError(BIND_INVALID, f"{url} has no TLS that could end at the edge, as terminate-tls says")
        return checked_tls(
            terminate.edge_tls(),
            self._minimum,
            pair_at="server_certificate",
            authorities_at="mutual_tls_certificate_authorities",
        )


def _session_id(owner_id: str) -> str:
    return f"cloud/{owner_id}"


def _bind_id(endpoint: CloudEndpoint) -> str:
    return endpoint.id.partition("_")[2]
