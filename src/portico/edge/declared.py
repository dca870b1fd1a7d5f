"""Endpoints that the settings declare, whose upstreams the edge reaches itself: binds of the operator's own session."""

import itertools
import logging
import time
from collections.abc import Iterable
from typing import Final, TypeAlias

from portico.edge.bind_request import BindRequest
from portico.edge.registry import LiveBind, Registry, Session
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import PorticoError
from portico.model.owner import Owner

log = logging.getLogger(__name__)
_SESSION: Final = "settings"
_Place: TypeAlias = tuple[Scheme | None, str | None, int | None]


class Declared:
    """What is declared, live in the registry from the start."""

    def __init__(self, registry: Registry, requests: Iterable[BindRequest], owner: Owner) -> None:
        """One that a rule forbids (its domain is reserved for somebody else) is logged, and the others are served."""
        self._registry = registry
        self._live: dict[_Place, LiveBind] = {}
        self._urls: dict[str, set[EndpointUrl]] = {}
        self._numbers = itertools.count()
        registry.begin_declared(Session(_SESSION, "", _SESSION, 0, owner, "", started=time.time()))
        self.change(requests)

    def change(self, requests: Iterable[BindRequest]) -> set[EndpointUrl]:
        """From now on these are declared; the URLs that have changed. One that a rule forbids stays as it was."""
        wanted = {(request.scheme, request.host, request.port): request for request in requests}
        gone = {place: bind for place, bind in self._live.items() if wanted.get(place) != bind.request}
        for place, bind in gone.items():
            self._registry.unbind(_SESSION, bind.id)
            del self._live[place]
        changed = {bind.url for bind in gone.values()}
        for place, request in wanted.items():
            if place not in self._live:
                bound = self._bind(request) or (self._bind(gone[place].request) if place in gone else None)
                if bound is not None:
                    self._live[place] = bound
                    changed.add(bound.url)
        self._urls = {}
        for bind in self._live.values():
            pools = (each for pool in bind.request.pools for each in pool.upstreams)
            for upstream in (*bind.request.upstreams, *pools):
                self._urls.setdefault(upstream.host, set()).add(bind.url)
        return changed

    def _bind(self, request: BindRequest) -> LiveBind | None:
        address = f"{_SESSION}/{next(self._numbers)}"
        try:
            return self._registry.bind(_SESSION, request, address, 0.0, started=time.time())
        except PorticoError as error:
            facts = {"host": request.host, "code": str(error.code), "reason": error.message}
            log.error("an endpoint of the settings is not served", extra=facts)
            return None

    @property
    def hosts(self) -> Iterable[str]:
        """The names and IP addresses of all upstreams."""
        return self._urls

    def urls(self, host: str) -> set[EndpointUrl]:
        """The endpoints with an upstream on `host`."""
        return self._urls.get(host, set())
