"""Endpoints that the settings declare, whose upstreams the edge reaches itself: binds of the operator's own session."""

import logging
import time
from collections.abc import Iterable
from typing import Final

from portico.edge.bind_request import BindRequest
from portico.edge.registry import Registry, Session
from portico.model.endpoint import EndpointUrl
from portico.model.errors import PorticoError
from portico.model.owner import Owner

log = logging.getLogger(__name__)
_SESSION: Final = "settings"


class Declared:
    """What is declared, live in the registry from the start."""

    def __init__(self, registry: Registry, requests: Iterable[BindRequest], owner: Owner) -> None:
        """One that a rule forbids (its domain is reserved for somebody else) is logged, and the others are served."""
        self._urls: dict[str, set[EndpointUrl]] = {}
        registry.begin_declared(Session(_SESSION, "", _SESSION, 0, owner, "", started=time.time()))
        for number, request in enumerate(requests):
            try:
                bind = registry.bind(_SESSION, request, f"{_SESSION}/{number}", 0.0, started=time.time())
            except PorticoError as error:
                facts = {"host": request.host, "code": str(error.code), "reason": error.message}
                log.error("an endpoint of the settings is not served", extra=facts)
                continue
            for upstream in (*request.upstreams, *(each for pool in request.pools for each in pool.upstreams)):
                self._urls.setdefault(upstream.host, set()).add(bind.url)

    @property
    def hosts(self) -> Iterable[str]:
        """The names and IP addresses of all upstreams."""
        return self._urls

    def urls(self, host: str) -> set[EndpointUrl]:
        """The endpoints with an upstream on `host`."""
        return self._urls[host]
