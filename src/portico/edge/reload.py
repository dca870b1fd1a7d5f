"""The endpoints of changed settings are taken over while everything runs: only what differs is published."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from portico.edge.declared import Declared
from portico.edge.name_lookup import NameLookup
from portico.edge.node import Node
from portico.edge.registry import Registry
from portico.model.endpoint import EndpointUrl

log = logging.getLogger(__name__)
LOOKUP_PATIENCE: Final = 5.0
"""Seconds for the names of new upstreams before their endpoints are published without them."""


async def take_over(
    node: Node,
    registry: Registry,
    declared: Declared,
    lookup: NameLookup,
    publish: Callable[[Iterable[EndpointUrl]], None],
) -> None:
    """Serve what `node` declares from now on."""
    before = set(declared.hosts)
    after = {upstream.host for request in node.declared for upstream in request.upstreams}
    after |= {each.host for request in node.declared for pool in request.pools for each in pool.upstreams}
    lookup.follow(before | after)
    if after - before:
        # Addresses first: an upstream whose name changes shall not be without any in between.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOKUP_PATIENCE):
                await lookup.look_up()
    changed = declared.change(node.declared)
    changed |= registry.declare([(one.url, one.labels) for one in node.labelled], dict(node.balancing))
    lookup.follow(declared.hosts)
    publish(changed)
    log.info("the settings' endpoints are taken over", extra={"changed": sorted(map(str, changed))})
