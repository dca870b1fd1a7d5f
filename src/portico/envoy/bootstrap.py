"""Envoy's start-up configuration: where to get all the rest, and what is never changed while it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portico.envoy.overload import overload_manager

ADS_CLUSTER: Final = "ads"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_URL: Final = "type.googleapis.com/"


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """What differs between nodes."""

    node_id: str
    ads_socket: Path
    max_connections: int = 50_000
    """Visitors' connections at once; more are closed at accept. Envoy needs two file descriptors for each."""
    memory_bytes: int | None = None
    """Heap that counts as all there is; near it Envoy sheds load. None for no such limit."""
    stats_flush_interval: float = 60.0
    """Seconds. Each flush walks all statistics: 2.9 % of a core at 10,000 endpoints with Envoy's default of 5 s."""
    initial_fetch_timeout: float = 15.0
    """Seconds to wait for the first answer of ADS about a resource type."""


def bootstrap(settings: BootstrapSettings, admin_socket: Path) -> dict[str, Any]:
    """The configuration as proto JSON."""
    ads = {
        "ads": {},
        "resource_api_version": "V3",
        "initial_fetch_timeout": f"{settings.initial_fetch_timeout:g}s",
    }
    return {
        "node": {"id": settings.node_id, "cluster": "portico-edge"},
        "admin": {"address": _pipe(admin_socket)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {"envoy_grpc": {"cluster_name": ADS_CLUSTER, "retry_policy": {"retry_back_off": _RECONNECT}}}
                ],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {"clusters": [_ads_cluster(settings.ads_socket)]},
        # Memory at 10,000 endpoints: 607 MB with none of these, 292 MB with both and a stats matcher in each cluster.
        "cluster_manager": {"enable_deferred_cluster_creation": True},
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "stats_flush_interval": f"{settings.stats_flush_interval:g}s",
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": f"{_URL}envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                },
            }
        ],
        # Each thread tells the watchdogs, which only count, twice per `miss_timeout` that it lives. With Envoy's 200 ms
        # that was two thirds of what it does at rest.
        "watchdogs": {"main_thread_watchdog": _WATCHDOG, "worker_watchdog": _WATCHDOG},
        "overload_manager": overload_manager(settings.max_connections, settings.memory_bytes),
        # RE2 bounds an expression's program by itself; Envoy's default is met by a dozen words to choose from.
        "layered_runtime": {
            "layers": [{"name": "portico", "static_layer": {"re2.max_program_size.error_level": 1_000_000}}]
        },
    }


_WATCHDOG: Final = {"miss_timeout": "5s", "megamiss_timeout": "10s"}
_RECONNECT: Final = {"base_interval": "0.05s", "max_interval": "0.5s"}
"""The control process is on the same machine and back within a second; Envoy's default waits up to 30 s."""


def _ads_cluster(socket: Path) -> dict[str, Any]:
    return {
        "name": ADS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": ADS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _pipe(socket)}}]}],
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _URL + _HTTP_OPTIONS,
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        },
    }


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path), "mode": 0o600}}
