"""What Envoy does before it runs out of connections or memory (its overload manager).

https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager
"""

from typing import Any, Final

_URL: Final = "type.googleapis.com/envoy."
_CONNECTIONS: Final = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP: Final = "envoy.resource_monitors.fixed_heap"

_SHORTER: Final = {
    # The slow lose first: what is idle or drips has less time, the more so the scarcer memory is.
    "HTTP_DOWNSTREAM_CONNECTION_IDLE": "2s",
    "HTTP_DOWNSTREAM_STREAM_IDLE": "10s",
    "HTTP_DOWNSTREAM_STREAM_FLUSH": "5s",
    "TRANSPORT_SOCKET_CONNECT": "2s",
}
"""Timers and what is left of them at the most; long polls and WebSockets of the silent kind end with them."""


def overload_manager(max_connections: int, memory_bytes: int | None) -> dict[str, Any]:
    """More visitors than `max_connections` are closed at accept; `memory_bytes` of heap count as all there is."""
    config = "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    connections = _monitor(_CONNECTIONS, config, max_active_downstream_connections=max_connections)
    if memory_bytes is None:
        return {"resource_monitors": [connections]}
    heap = _monitor(
        _HEAP, "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=memory_bytes
    )
    return {"resource_monitors": [connections, heap], "actions": _actions()}


def _monitor(name: str, config: str, **fields: int) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _URL + config, **fields}}


def _actions() -> list[dict[str, Any]]:
    shorter = [{"timer": timer, "min_timeout": least} for timer, least in _SHORTER.items()]
    timers = {"@type": _URL + "config.overload.v3.ScaleTimersOverloadActionConfig", "timer_scale_factors": shorter}
    return [
        {
            **_action("reduce_timeouts", {"scaled": {"scaling_threshold": 0.8, "saturation_threshold": 0.95}}),
            "typed_config": timers,
        },
        _action("shrink_heap", {"threshold": {"value": 0.9}}),
        _action("disable_http_keepalive", {"threshold": {"value": 0.92}}),
        _action("stop_accepting_connections", {"threshold": {"value": 0.95}}),
        _action("stop_accepting_requests", {"threshold": {"value": 0.98}}),
    ]


def _action(name: str, when: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **when}]}
