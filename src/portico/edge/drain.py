"""Lets visitors finish before a node ends."""

import asyncio
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from portico.envoy.admin import Admin, AdminError

_POLL: Final = 0.1
_QUIET_POLLS: Final = 5
"""A request on its way through the network is in no gauge yet: the quiet has to last."""
_VISITORS: Final = {
    "envoy_http_downstream_rq_active": "envoy_http_conn_manager_prefix",
    "envoy_tcp_downstream_cx_active": "envoy_tcp_prefix",
}
"""Gauge → the label that tells visitors' from our own."""
_OURS: Final = frozenset({"admin", "connect"})


async def until_quiet(admin: Admin, seconds: float) -> None:
    """Tell Envoy to drain, and return when no visitor is served any more, after `seconds` at the latest."""
    try:
        async with asyncio.timeout(seconds):
            await admin.drain_listeners()
            quiet = 0
            while quiet < _QUIET_POLLS:
                quiet = 0 if await _busy(admin) else quiet + 1
                await asyncio.sleep(_POLL)
    except (AdminError, TimeoutError):
        return


async def _busy(admin: Admin) -> bool:
    families = text_string_to_metric_families(await admin.metrics())
    return any(
        sample.value > 0
        for family in families
        if (label := _VISITORS.get(family.name))
        for sample in family.samples
        if sample.labels.get(label) not in _OURS
    )
