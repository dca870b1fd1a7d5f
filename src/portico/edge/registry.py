"""The live sessions, binds and endpoints of an edge node, and the rules by which names are given out.

Pure: no input or output, time is an argument, so the rules are tested as plain values. Each change returns the URLs
whose endpoint changed; the publisher then asks `endpoint(url)` what to tell Envoy.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from portico.edge.bind_request import BindRequest
from portico.edge.led_to import led_to
from portico.edge.naming import Naming
from portico.model.acl import EVERYTHING, Acl
from portico.model.balancing import Balancing
from portico.model.endpoint import Address, EdgeTls, Endpoint, EndpointUrl, Scheme, UnixSocket
from portico.model.errors import (
    ALREADY_ONLINE,
    BIND_FORBIDDEN,
    BIND_INVALID,
    DOMAIN_RESERVED,
    LABELS_UNKNOWN,
    NOT_SERVED,
    TOO_MANY_ENDPOINTS,
    TOO_MANY_SESSIONS,
    PorticoError,
)
from portico.model.names import candidates, is_internal_host
from portico.model.owner import Owner

HOLD_SECONDS: Final = 60.0
"""How long a name stays kept for the owner whose session was lost."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an owner may have at once where his own entry does not say."""

    max_sessions: int
    max_endpoints: int


@dataclass(frozen=True, slots=True)
class Session:
    """One authenticated agent connection."""

    id: str
    relay: str
    """Empty for the sessions of the settings' endpoints and of cloud endpoints, which no agent holds."""
    client_id: str
    leg: int
    owner: Owner
    remote: str
    user_agent: str = ""
    metadata: str = ""
    credential: str = ""
    """Id of the credential that it was opened with."""
    acl: Acl = EVERYTHING
    started: float = 0.0
    """Unix time."""
    agent_version: str = ""
    os: str = ""


@dataclass(frozen=True, slots=True)
class LiveBind:
    """What one session gives one endpoint: its own socket, or addresses that the edge reaches itself."""

    id: str
    token: str
    session: str
    address: str
    url: EndpointUrl
    request: BindRequest
    started: float = 0.0
    """Unix time."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the endpoint's bytes may go by it."""
        if self.request.cloud or self.request.routes:
            return self.request.upstreams
        return self.request.upstreams or (UnixSocket(self.address, self.request.weight),)


@dataclass(slots=True)
class _Pool:
    """All live binds of one URL."""

    binds: dict[str, LiveBind] = field(default_factory=dict)

    @property
    def first(self) -> LiveBind:
        """Whose request says how the pool is served: who has routes, else who came first; the others agree with him."""
        return next((bind for bind in self.binds.values() if bind.request.routes), next(iter(self.binds.values())))


@dataclass(frozen=True, slots=True)
class _Hold:
    """A name whose agent was lost: kept for its owner, and its visitors are told that it is offline.

    For the owner, not for the agent alone: a program that was interrupted and started again is another agent.
    """

    owner: str
    until: float
    request: BindRequest


class Registry:
    """Everything that is live on one node."""

    def __init__(
        self,
        naming: Naming,
        limits: Limits,
        reserved: Iterable[tuple[str, str]] = (),
        labelled: Iterable[tuple[EndpointUrl, dict[str, str]]] = (),
    ) -> None:
        """`reserved`: (domain or wildcard, owner's name); `labelled`: endpoints that labelled tunnels serve."""
        self.naming = naming
        self._limits = limits
        self._reserved = dict(reserved)
        self._reserved_ports: dict[int, str] = {}
        self._labelled = list(labelled)
        self._balancing: dict[EndpointUrl, Balancing] = {}
        self._sessions: dict[str, Session] = {}
        self._by_agent: dict[tuple[str, int], str] = {}
        self._binds: dict[str, dict[str, LiveBind]] = {}
        self._pools: dict[EndpointUrl, _Pool] = {}
        self._places: dict[str, set[EndpointUrl]] = {}
        self._holds: dict[EndpointUrl, _Hold] = {}
        self._held_places: dict[str, set[EndpointUrl]] = {}
        self._session_counts: Counter[str] = Counter()
        self._bind_counts: Counter[str] = Counter()

    # Sessions

    def session(self, session_id: str) -> Session | None:
        """The live session of that id."""
        return self._sessions.get(session_id)

    @property
    def sessions(self) -> Iterator[Session]:
        """All live sessions of agents."""
        return (session for session in self._sessions.values() if session.relay)

    def predecessor(self, client_id: str, leg: int) -> Session | None:
        """The session that a returning agent takes the place of."""
        known = self._by_agent.get((client_id, leg))
        return self._sessions.get(known) if known else None

    def add_session(self, session: Session) -> None:
        """Admit a session. Raises PorticoError(TOO_MANY_SESSIONS)."""
        limit = session.owner.max_sessions or self._limits.max_sessions
        if self._session_counts[session.owner.name] >= limit:
            raise PorticoError(TOO_MANY_SESSIONS, f"{session.owner.name} has {limit} sessions, which is its limit")
        self._admit(session)

    def begin_declared(self, session: Session) -> None:
        """Admit the session of endpoints without an agent. It never ends, and is none of its owner's agents."""
        self._sessions[session.id] = session
        self._binds[session.id] = {}

    def change_acl(self, credential: str, acl: Acl) -> None:
        """From now on this holds for the binds of the credential's sessions; what is online stays so."""
        for session in [one for one in self._sessions.values() if one.credential == credential]:
            self._sessions[session.id] = replace(session, acl=acl)

    def end_session(self, session_id: str, now: float, *, hold: bool = True) -> list[EndpointUrl]:
        """Forget a session with its binds; with `hold`, its names stay kept for its owner for a while. Idempotent."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return []
        self._session_counts[session.owner.name] -= 1
        if self._by_agent.get((session.client_id, session.leg)) == session_id:
            del self._by_agent[session.client_id, session.leg]
        changed = []
        for bind in self._binds.pop(session_id).values():
            self._leave(bind, session.owner)
            self._release(bind.url)
            if hold:
                self._holds[bind.url] = _Hold(session.owner.name, now + HOLD_SECONDS, bind.request)
                self._held_places.setdefault(_place(bind.url), set()).add(bind.url)
            changed.append(bind.url)
        return changed

    # Binds

    def bind(
        self, session_id: str, request: BindRequest, address: str, now: float, *, started: float = 0.0
    ) -> LiveBind:
        """Give `request` its URL and make it live. Raises PorticoError with the rule that forbids it.

        `now` is the loop's time, `started` the time of day (Unix).
        """
        session = self._sessions[session_id]
        mine = self._binds[session_id]
        self.expire_holds(now)
        limit = session.owner.max_endpoints or self._limits.max_endpoints
        if request.bind_id not in mine and self._bind_counts[session.owner.name] >= limit:
            raise PorticoError(TOO_MANY_ENDPOINTS, f"{session.owner.name} has {limit} endpoints, which is its limit")
        url = self._url_for(session, request)
        _check_tls(url, request)
        self._check_pool(url, request)
        bind_id = request.bind_id or secrets.token_hex(8)
        if (old := mine.pop(bind_id, None)) is not None:
            self._leave(old, session.owner)
        bind = LiveBind(bind_id, request.token or secrets.token_hex(16), session_id, address, url, request, started)
        mine[bind_id] = bind
        self._join(bind, session.owner)
        return bind

    def restore(self, session: Session, binds: Iterable[LiveBind]) -> list[EndpointUrl]:
        """Take back, from a relay, what an earlier control process had admitted."""
        self._admit(session)
        for bind in binds:
            self._binds[session.id][bind.id] = bind
            self._join(bind, session.owner)
        return [bind.url for bind in self._binds[session.id].values()]

    def unbind(self, session_id: str, bind_id: str) -> EndpointUrl | None:
        """End one bind. Idempotent: agents ask two or three times."""
        bind = self._binds.get(session_id, {}).pop(bind_id, None)
        if bind is None:
            return None
        self._leave(bind, self._sessions[session_id].owner)
        return bind.url

    def patch(self, session_id: str, bind_id: str, **changes: str | bool | None) -> LiveBind:
        """Change fields of a live bind's request, those that are not None. Raises PorticoError(BIND_INVALID)."""
        bind = self.find_bind(session_id, bind_id)
        if bind is None:
            raise PorticoError(BIND_INVALID, f"this session has no endpoint {bind_id!r}")
        given = {name: value for name, value in changes.items() if value is not None}
        return self.exchange(bind, replace(bind.request, **given))  # type: ignore[arg-type]

    def exchange(self, bind: LiveBind, request: BindRequest) -> LiveBind:
        """A live bind goes on under the same URL with another request. Raises PorticoError(BIND_INVALID)."""
        others = [other for other in self._pools[bind.url].binds.values() if other is not bind]
        if others:
            _check_agreement(bind.url, others[0].request, request)
        changed = replace(bind, request=request)
        self._binds[bind.session][bind.id] = changed
        self._pools[bind.url].binds[changed.address] = changed
        return changed

    def find_bind(self, session_id: str, bind_id: str) -> LiveBind | None:
        """The live bind that an agent means."""
        return self._binds.get(session_id, {}).get(bind_id)

    # Endpoints

    @property
    def urls(self) -> Iterator[EndpointUrl]:
        """The URLs that are served now."""
        return iter(self._pools)

    def binds(self) -> list[LiveBind]:
        """All live binds."""
        return [bind for mine in self._binds.values() for bind in mine.values()]

    def holders(self, place: str) -> set[str]:
        """Ids of the owners whose binds are online under a host name, or `tcp:<port>`."""
        urls = tuple(self._places.get(place, ()))
        return {self._sessions[bind.session].owner.id for url in urls for bind in self._pools[url].binds.values()}

    def reserve(self, domains: Iterable[tuple[str, str]], ports: Iterable[tuple[int, str]]) -> list[EndpointUrl]:
        """From now on these are reserved, each with its owner's name; the URLs that may have changed by it."""
        before, self._reserved = self._reserved, dict(domains)
        self._reserved_ports = dict(ports)
        return [self.naming.named(Scheme.HTTPS, name) for name in before.keys() ^ self._reserved.keys()]

    def declare(
        self, labelled: Iterable[tuple[EndpointUrl, dict[str, str]]], balancing: Mapping[EndpointUrl, Balancing]
    ) -> set[EndpointUrl]:
        """From now on labelled tunnels serve these, and these are balanced so; the URLs whose rules have changed.

        Rules are a URL's, not its binds': all who serve it come under them.
        """
        before, self._balancing = self._balancing, dict(balancing)
        self._labelled = list(labelled)
        return {url for url in {*before, *balancing} if before.get(url) != balancing.get(url)}

    def serves(self, host: str) -> bool:
        """Whether some endpoint or reserved domain, live or offline, answers for `host`."""
        return any(
            name in self._places or name in self._reserved or name in self._held_places for name in candidates(host)
        )

    @property
    def reserved_urls(self) -> Iterator[EndpointUrl]:
        """The https URLs of reserved names, where visitors are told that nobody serves them."""
        return (self.naming.named(Scheme.HTTPS, name) for name in self._reserved)

    def endpoint(self, url: EndpointUrl) -> Endpoint | None:
        """What Envoy is to know of `url`; no addresses where it is known but offline, None where it is unknown."""
        endpoint = self._alone(url)
        if endpoint is None or not endpoint.routes:
            return endpoint
        wanted = self._pools[url].first.request.pools
        return replace(endpoint, pools=led_to(wanted, self._alone, self.naming, endpoint.balancing))

    def _alone(self, url: EndpointUrl) -> Endpoint | None:
        """The same without what its routes lead to."""
        pool = self._pools.get(url)
        if pool is not None:
            members = sorted(pool.binds.values(), key=lambda bind: bind.address)
            owner = self._sessions[pool.first.session].owner
            addresses = tuple(each for bind in members for each in bind.addresses)
            endpoint = _endpoint(url, pool.first.request, addresses, owner.id)
            return replace(endpoint, balancing=self._balancing[url]) if url in self._balancing else endpoint
        if url in self._holds:
            # Of bytes nothing answers while nobody is online; of HTTP the policy goes on to.
            policy = self._holds[url].request.traffic_policy if url.scheme in (Scheme.HTTP, Scheme.HTTPS) else ""
            return _endpoint(url, replace(self._holds[url].request, routes=(), traffic_policy=policy), (), "")
        if url.scheme is Scheme.HTTPS and url.host in self._reserved and self._rival(url) is None:
            return Endpoint(url, (), EdgeTls())
        return None

    # The rules

    def _url_for(self, session: Session, request: BindRequest) -> EndpointUrl:
        if request.scheme is None:
            url = self._labelled_url(request.labels)
        elif request.scheme is Scheme.TCP:
            url = self.naming.tcp(request.host, request.port, self._taken)
        elif request.host is None:
            url = self.naming.random(request.scheme, self._taken)
        else:
            url = self.naming.named(request.scheme, request.host)
        self._check_reserved(session, url)
        _check_acl(session, request, url)
        if request.scheme is not None:  # what labels lead to is nobody's own
            self._check_owner(url, session.owner)
        self._release(url)
        return url

    def _labelled_url(self, labels: dict[str, str]) -> EndpointUrl:
        for url, wanted in self._labelled:
            if wanted.items() <= labels.items():
                return url
        text = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        raise PorticoError(LABELS_UNKNOWN, f"no endpoint of this edge has the labels {text or '(none)'}")

    def _check_reserved(self, session: Session, url: EndpointUrl) -> None:
        if url.scheme is Scheme.TCP and not is_internal_host(url.host):
            owner = self._reserved_ports.get(url.port)
        else:
            owner = next((self._reserved[name] for name in candidates(url.host) if name in self._reserved), None)
        if owner is not None and owner != session.owner.name:
            raise PorticoError(DOMAIN_RESERVED, f"{_place(url)} is reserved for somebody else")

    def _check_owner(self, url: EndpointUrl, owner: Owner) -> None:
        """A name is one owner's at a time, whatever the scheme: his https visitors come by http first."""
        place = _place(url)
        for other in self._places.get(place, ()):
            if self._sessions[self._pools[other].first.session].owner.id != owner.id:
                raise PorticoError(ALREADY_ONLINE, f"{other} is online for another owner")
        if any(self._holds[held].owner != owner.name for held in self._held_places.get(place, ())):
            raise PorticoError(ALREADY_ONLINE, f"{url} is kept for an owner whose agent lost its connection just now")

    def _check_pool(self, url: EndpointUrl, request: BindRequest) -> None:
        rival = self._rival(url)
        if rival is not None:
            raise PorticoError(ALREADY_ONLINE, f"{rival} is online and takes the same name")
        pool = self._pools.get(url)
        if pool is None or {bind.id for bind in pool.binds.values()} == {request.bind_id}:
            return
        first = pool.first.request
        both_pooled = first.pooling and request.pooling
        if not both_pooled and request.scheme is not None:
            raise PorticoError(ALREADY_ONLINE, f"{url} is already online")
        _check_agreement(url, first, request)

    def _rival(self, url: EndpointUrl) -> EndpointUrl | None:
        """Another URL in the same place: https beside tls, or one tcp port under two names."""
        return next(
            (other for other in self._places.get(_place(url), ()) if other.port == url.port and other != url), None
        )

    def _taken(self, url: EndpointUrl) -> bool:
        reserved = url.scheme is Scheme.TCP and url.port in self._reserved_ports
        return reserved or url in self._pools or _place(url) in self._held_places or self._rival(url) is not None

    def expire_holds(self, now: float) -> None:
        """Give up the names that were kept long enough; whoever refreshes their URLs calls this first."""
        # All holds last equally long, so the dict is in the order of their ends.
        while self._holds and next(iter(self._holds.values())).until <= now:
            self._release(next(iter(self._holds)))

    def _release(self, url: EndpointUrl) -> None:
        if self._holds.pop(url, None) is None:
            return
        held = self._held_places[_place(url)]
        held.discard(url)
        if not held:
            del self._held_places[_place(url)]

    def _admit(self, session: Session) -> None:
        self._sessions[session.id] = session
        self._session_counts[session.owner.name] += 1
        self._by_agent[session.client_id, session.leg] = session.id
        self._binds[session.id] = {}

    def _join(self, bind: LiveBind, owner: Owner) -> None:
        self._bind_counts[owner.name] += 1
        self._pools.setdefault(bind.url, _Pool()).binds[bind.address] = bind
        self._places.setdefault(_place(bind.url), set()).add(bind.url)

    def _leave(self, bind: LiveBind, owner: Owner) -> None:
        self._bind_counts[owner.name] -= 1
        pool = self._pools[bind.url]
        del pool.binds[bind.address]
        if pool.binds:
            return
        del self._pools[bind.url]
        place = self._places[_place(bind.url)]
        place.discard(bind.url)
        if not place:
            del self._places[_place(bind.url)]


def _endpoint(url: EndpointUrl, request: BindRequest, addresses: tuple[Address, ...], owner_id: str) -> Endpoint:
    return Endpoint(
        url=url,
        addresses=addresses,
        tls=_tls(url, request),
        upstream_http=request.upstream_http,
        proxy_protocol=request.tells_visitor,
        host_header=request.host_header,
        networks=request.networks,
        traffic_policy=request.traffic_policy,
        owner=owner_id,
        routes=request.routes,
    )


def _tls(url: EndpointUrl, request: BindRequest) -> EdgeTls | None:
    """How TLS ends at the edge; None where it does not. That of https always does, whether somebody says so or not."""
    return request.tls or EdgeTls() if url.scheme is Scheme.HTTPS else request.tls


def _check_agreement(url: EndpointUrl, first: BindRequest, request: BindRequest) -> None:
    if _tls(url, first) != _tls(url, request):
        raise PorticoError(BIND_INVALID, f"the pool of {url} has another tls; all its members must agree")
    for option in ("upstream_http", "host_header", "networks", "traffic_policy"):
        if getattr(first, option) != getattr(request, option):
            raise PorticoError(BIND_INVALID, f"the pool of {url} has another {option}; all its members must agree")
    if first.websocket_bytes != request.websocket_bytes:
        raise PorticoError(BIND_INVALID, f"the pool of {url} has members with and without the WebSocket converter")
    if (first.proxy_protocol > 0) != (request.proxy_protocol > 0):
        raise PorticoError(BIND_INVALID, f"the members of the pool of {url} must agree on the PROXY protocol")


def _check_tls(url: EndpointUrl, request: BindRequest) -> None:
    if url.scheme is Scheme.TLS and is_internal_host(url.host) and request.tls is not None:
        raise PorticoError(
            NOT_SERVED,
            f"TLS of {url} cannot end at the edge, for no visitor begins it there",
            fix="End it at the endpoint whose policy leads there, or at the agent.",
        )


def _check_acl(session: Session, request: BindRequest, url: EndpointUrl) -> None:
    acl = session.acl
    if not (acl.permits_labels(request.labels) if request.scheme is None else acl.permits(url)):
        raise PorticoError(BIND_FORBIDDEN, f"the credential of this session may not bind {url}")


def _place(url: EndpointUrl) -> str:
    """What at most one URL may hold on one port: a host name, or for tcp the port itself, under whatever name.

    Internal tcp endpoints have no listener: they are told from each other by their names.
    """
    if url.scheme is Scheme.TCP and is_internal_host(url.host):
        return str(url)
    return f"tcp:{url.port}" if url.scheme is Scheme.TCP else url.host
