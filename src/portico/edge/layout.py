"""How a node is laid out: what its settings describe, and the paths and names that they leave open.

Beside `node.py`, so that control, which reads what was laid out, starts without the settings: those are slow to import.
"""

import math
import secrets
from dataclasses import replace

from portico.certificates.system_authorities import system_authorities
from portico.edge.data_dir import DataDir
from portico.edge.node import Bounds, Labelled, Node, write_script
from portico.edge.public_names import has_wildcard
from portico.edge.registry import Limits
from portico.edge.settings import EdgeSettings
from portico.model.balancing import USUAL
from portico.model.edge import ChallengeSockets, EdgeFrame, SocketAddress
from portico.model.limits import SharedCounts


def lay_out(settings: EdgeSettings, data_dir: DataDir, addresses: dict[str, SocketAddress]) -> Node:
    """The node that `settings` describe; `addresses` by flag, with port 0 resolved."""
    relays = tuple(f"r{number}" for number in range(settings.relays))
    run_dir = data_dir.run_dir
    acme = settings.acme_rules()
    frame = EdgeFrame(
        domain=settings.domain,
        https=addresses["--https-addr"],
        http=addresses.get("--http-addr"),
        tcp_host=settings.tcp_host,
        agent_sockets=tuple(str(run_dir / relay / "agents.sock") for relay in relays),
        api_socket=str(run_dir / "api.sock"),
        mark_header=f"x-portico-{secrets.token_hex(8)}",
        minimum_tls=settings.tls_min_version,
        policy_script=str(write_script(run_dir)),
        gate_socket=str(run_dir / "gate.sock"),
        internal_socket=str(run_dir / "internal.sock"),
        connections_socket=str(run_dir / "connections.sock"),
        challenges=ChallengeSockets(str(run_dir / "acme-http.sock"), str(run_dir / "acme-tls.sock")) if acme else None,
        system_authorities=system_authorities() or "",
        wildcard=acme is None or has_wildcard(acme, settings.domain),
        idle_seconds=math.ceil(settings.idle_seconds or 0),
        limits=settings.visitor_limits(),
        shared_counts=SharedCounts(settings.envoy_concurrency) if settings.database_url else None,
        geoip=settings.geoip_databases,
        fingerprints=settings.tls_fingerprints,
        access_log=settings.access_log_rules(),
        tracing=settings.tracing_rules(),
        endpoint_metrics=settings.endpoint_metrics is not None,
    )
    laid_out = Node(
        frame=frame,
        admin=addresses["--admin-addr"],
        data_dir=str(data_dir.path),
        run_dir=str(run_dir),
        ssh=addresses.get("--ssh-addr"),
        relays=relays,
        tcp_ports=(settings.tcp_ports.first, settings.tcp_ports.last),
        limits=Limits(settings.max_sessions, settings.max_endpoints),
        heartbeats=Bounds(
            (settings.heartbeat_interval_min, settings.heartbeat_interval_max),
            (settings.heartbeat_tolerance_min, settings.heartbeat_tolerance_max),
        ),
        owners=tuple(owner.declared() for owner in settings.owners),
        labelled=(),
        declared=(),
        balancing=(),
        log_level=settings.log_level,
        log_format=settings.log_format,
        acme=acme,
        endpoint_metrics=settings.endpoint_metrics,
        database=settings.database_url,
        policy_networks=settings.policy_networks,
    )
    return with_endpoints(laid_out, settings)


def with_endpoints(node: Node, settings: EdgeSettings) -> Node:
    """The same node with the endpoints that `settings` declare."""
    # The edge's own ports take the place of those that a URL does not choose.
    rules = ((one.url if one.labels else node.naming.asked_for(one.url), one.rules()) for one in settings.endpoints)
    return replace(
        node,
        labelled=tuple(Labelled(one.url, dict(one.labels)) for one in settings.endpoints if one.labels),
        declared=tuple(one.request() for one in settings.endpoints if one.is_declared),
        balancing=tuple((url, balancing) for url, balancing in rules if balancing != USUAL),
    )
