"""Which certificate a name is served with: an uploaded one, or one of the edge's authority, issued on demand."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from portico.certificates.authority import Authority
from portico.certificates.uploads import Uploads
from portico.model.acme import AcmeCertificate
from portico.model.endpoint import KeyPair

MAX_LEAVES: Final = 10_000
"""Leaves kept; one is about 1.2 kB, and issuing it again takes 0.2 ms."""
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
RENEW_AFTER: Final = 2 / 3
"""Part of its time after which an automatic certificate is replaced."""


@dataclass(frozen=True, slots=True)
class Expiries:
    """For the metrics: when what the edge serves expires."""

    authority: datetime
    edge: datetime
    uploads: dict[str, datetime]
    """Owners' certificates, by id; nobody but the owner can renew them."""
    leaves: int
    """Automatic certificates in the cache."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    pair: KeyPair
    not_after: datetime
    renew_at: datetime


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Certificates:
    """All certificates of one edge. Not for several threads at once: control's event loop has it alone."""

    def __init__(
        self,
        authority: Authority,
        domain: str,
        may_issue: Callable[[str], bool],
        uploads: Uploads | None = None,
        public: Callable[[str], AcmeCertificate | None] | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        max_leaves: int = MAX_LEAVES,
    ) -> None:
        self._authority = authority
        self._edge_names = edge_names(domain)
        self._may_issue = may_issue
        self._now = now
        self._max_leaves = max_leaves
        self._edge = self._issue(self._edge_names)
        self._domain = domain
        self._local: _Leaf | None = None
        self._uploads = uploads or Uploads(lambda _owner, _host: False)
        self._public = public or (lambda _: None)
        self._leaves: OrderedDict[str, _Leaf] = OrderedDict()

    def edge_pair(self) -> KeyPair:
        """The edge's own certificate: for its own names, and for connections that name no server."""
        public = self._public(self._domain)
        if public is not None and public.pair is not None:
            return public.pair
        if self._is_due(self._edge):
            self._edge = self._issue(self._edge_names)
        return self._edge.pair

    def local_pair(self) -> KeyPair:
        """For localhost and for connections that name no server, where the edge's own certificate is a public one."""
        if self._local is None or self._is_due(self._local):
            self._local = self._issue(_LOCAL_NAMES)
        return self._local.pair

    def for_name(self, host: str) -> KeyPair | None:
        """The pair for this SNI (normalized): an upload or a public one, else the edge's own authority's.

        Exact goes before wildcard, then uploaded before automatic.
        What was given out has to be asked for again from time to time, for all of them expire.
        """
        upload = self._uploads.best_for(host, self._now())
        public = self._public(host)
        if upload is not None and (public is None or host in upload.facts.names or host not in public.names):
            return upload.pair
        if public is not None:
            return public.pair
        if host in self._edge_names:
            return self.edge_pair()
        return self._leaf(host) if self._may_issue(host) else None

    def forget(self, host: str) -> None:
        """Drop the automatic certificate of a name that is served no longer."""
        self._leaves.pop(host, None)

    def expiries(self) -> Expiries:
        """When the certificates expire."""
        public = self._public(self._domain)
        edge = public.not_after if public is not None and public.not_after is not None else self._edge.not_after
        return Expiries(self._authority.not_after, edge, self._uploads.expiries(), len(self._leaves))

    def _leaf(self, host: str) -> KeyPair:
        leaf = self._leaves.get(host)
        if leaf is None or self._is_due(leaf):
            leaf = self._leaves[host] = self._issue((host,))
        self._leaves.move_to_end(host)
        if len(self._leaves) > self._max_leaves:
            self._leaves.popitem(last=False)
        return leaf.pair

    def _issue(self, names: tuple[str, ...]) -> _Leaf:
        now = self._now()
        pair, not_after = self._authority.issue(names, now)
        return _Leaf(pair, not_after, now + (not_after - now) * RENEW_AFTER)

    def _is_due(self, leaf: _Leaf) -> bool:
        return self._now() >= leaf.renew_at


def edge_names(domain: str) -> tuple[str, ...]:
    """What the edge's own certificate covers.

    `*.D` only where D has a dot: clients refuse a wildcard for a whole top-level domain (RFC 6125, 7.2).
    """
    wildcard = (f"*.{domain}",) if "." in domain else ()
    services = (f"connect.{domain}", f"api.{domain}", f"dashboard.{domain}")
    return tuple(dict.fromkeys((domain, *wildcard, *services, *_LOCAL_NAMES)))
