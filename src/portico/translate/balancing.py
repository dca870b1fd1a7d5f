"""How the load of a cluster is spread, what is checked, and what is left out: the fields of `model.Balancing`."""

from dataclasses import dataclass
from typing import Final

from portico.model.balancing import (
    Balancing,
    CircuitLimits,
    HashBy,
    HashKind,
    HealthCheck,
    Method,
    OutlierEjection,
)
from portico.model.endpoint import Address, UnixSocket
from portico.model.errors import UPSTREAM_UNREACHABLE
from portico.model.pages import PROBE_ANSWER
from portico.translate.typed import Body

_POLICIES: Final = {
    Method.LEAST_REQUEST: "LEAST_REQUEST",
    Method.ROUND_ROBIN: "ROUND_ROBIN",
    Method.RANDOM: "RANDOM",
    Method.RING_HASH: "RING_HASH",
    Method.MAGLEV: "MAGLEV",
}
_SLOW: Final = {Method.LEAST_REQUEST: "least_request_lb_config", Method.ROUND_ROBIN: "round_robin_lb_config"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What checks must know of a cluster's protocol."""

    http: int = 0
    """1 or 2; 0 for bytes."""
    host: str = ""
    """Host header of checks that name none."""
    headed: bool = False
    """Whether connections to binds begin with a PROXY header anyway."""


BYTES: Final = Spoken()


def balanced(balancing: Balancing, addresses: tuple[Address, ...], spoken: Spoken = BYTES) -> Body:
    """The fields of a cluster. One address with nothing set has none but its limits."""
    body: Body = {"circuit_breakers": {"thresholds": [_thresholds(balancing.limits, spoken)]}}
    if len(addresses) > 1 or balancing != Balancing(limits=balancing.limits):
        body |= _spread(balancing) | _ejection(balancing, addresses, spoken)
    if balancing.health is not None:
        body |= _checks(balancing.health, addresses, spoken)
    return body


def hash_policy(balancing: Balancing) -> list[Body]:
    """What an HTTP request is hashed by, for `HttpProtocolOptions`; routes need not know it."""
    if not balancing.method.hashes:
        return []
    by = balancing.hash_by or (HashBy(HashKind.ADDRESS),)
    return [{**_hash(each), "terminal": True} for each in by]


def failure_told_by_relays(balancing: Balancing, addresses: tuple[Address, ...], mark: str) -> Body | None:
    """`HttpProtocolOptions.outlier_detection`: which answer of a relay says that its upstream cannot be reached.

    Then an upstream's own 500 is none; where those are to count, a relay's 502 is one of them.
    """
    if not _counts_relays_answers(balancing, addresses):
        return None
    number = {"name": mark, "string_match": {"exact": str(UPSTREAM_UNREACHABLE.number)}}
    return {"error_matcher": {"http_response_headers_match": {"headers": [number]}}}


def checked_passively(balancing: Balancing, addresses: tuple[Address, ...], address: Address) -> bool:
    """Whether no check fits an address: a relay answers the probe of a connection, and other services do not."""
    health = balancing.health
    if health is None or not health.by_connection:
        return False
    return isinstance(address, UnixSocket) and not _all_relayed(addresses)


def seconds(value: float) -> str:
    """A duration in proto-JSON."""
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def _thresholds(limits: CircuitLimits, spoken: Spoken) -> Body:
    """Envoy counts requests of HTTP/2 alone; in HTTP/1.1 each has a connection of its own."""
    one_each = spoken.http == 1
    return {
        "max_connections": min(limits.connections, limits.requests) if one_each else limits.connections,
        "max_pending_requests": limits.pending,
        "max_requests": limits.requests,
        "max_retries": limits.retries,
    }


def _spread(balancing: Balancing) -> Body:
    common: Body = {"healthy_panic_threshold": {"value": balancing.panic_percent}}
    if balancing.zone_weights:
        common["locality_weighted_lb_config"] = {}
    body: Body = {"lb_policy": _POLICIES[balancing.method], "common_lb_config": common}
    slow = balancing.slow_start
    if slow is not None and balancing.method in _SLOW:
        window = {"slow_start_window": seconds(slow.seconds), "min_weight_percent": {"value": slow.percent}}
        body[_SLOW[balancing.method]] = {"slow_start_config": window}
    return body


def _ejection(balancing: Balancing, addresses: tuple[Address, ...], spoken: Spoken) -> Body:
    """One failed connect sets an address aside for a while; when all are aside all are tried, never none."""
    rules = balancing.outlier
    if rules is None:
        if len(addresses) < 2 and not balancing.remembers:
            return {}
        rules = OutlierEjection()
    told = spoken.http > 0 and _counts_relays_answers(balancing, addresses)
    return {
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            **_counted("5xx", rules.consecutive_local if told else rules.consecutive_5xx),
            **_counted("gateway_failure", rules.consecutive_gateway),
            **_counted("local_origin_failure", rules.consecutive_local),
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "base_ejection_time": seconds(rules.base_seconds),
            "max_ejection_time": seconds(rules.max_seconds),
            "max_ejection_percent": rules.max_percent,
            "interval": seconds(rules.interval),
        }
    }


def _counted(kind: str, limit: int) -> Body:
    enforced = f"enforcing_consecutive_{kind}"
    return {f"consecutive_{kind}": limit, enforced: 100} if limit else {enforced: 0}


def _counts_relays_answers(balancing: Balancing, addresses: tuple[Address, ...]) -> bool:
    rules = balancing.outlier or OutlierEjection()
    pooled = len(addresses) > 1 or balancing.remembers or balancing.outlier is not None
    relayed = any(isinstance(each, UnixSocket) for each in addresses)
    return pooled and relayed and not (rules.consecutive_5xx or rules.consecutive_gateway)


def _hash(by: HashBy) -> Body:
    match by.kind:
        case HashKind.ADDRESS:
            return {"connection_properties": {"source_ip": True}}
        case HashKind.HEADER:
            return {"header": {"header_name": by.name}}
        case HashKind.QUERY:
            return {"query_parameter": {"name": by.name}}
        case HashKind.COOKIE:
            cookie: Body = {"name": by.name}
            if by.cookie_seconds is not None:
                cookie |= {"ttl": f"{by.cookie_seconds}s", "path": "/", "attributes": _COOKIE_ATTRIBUTES}
            return {"cookie": cookie}


_COOKIE_ATTRIBUTES: Final = [{"name": "HttpOnly"}, {"name": "SameSite", "value": "Lax"}]


def _checks(health: HealthCheck, addresses: tuple[Address, ...], spoken: Spoken) -> Body:
    check: Body = {
        "timeout": seconds(health.timeout),
        "interval": seconds(health.interval),
        "interval_jitter_percent": health.jitter_percent,
        "initial_jitter": "0.5s",
        "unhealthy_threshold": health.unhealthy_after,
        "healthy_threshold": health.healthy_after,
        "no_traffic_interval": seconds(max(health.idle_interval, health.interval)),
        # A relay closes what rests for long; a check is to see the upstream, not the age of its connection.
        "reuse_connection": False,
        **_probe(health, addresses, spoken),
    }
    return {
        "health_checks": [check],
        # The first visitors need not wait for the first checks: until then all addresses count as unhealthy, and panic
        # leads to all of them.
        "wait_for_warm_on_init": False,
        "ignore_health_on_host_removal": True,
    }


def _probe(health: HealthCheck, addresses: tuple[Address, ...], spoken: Spoken) -> Body:
    if health.http is not None:
        check = health.http
        return {
            "http_health_check": {
                "path": check.path,
                "host": check.host or spoken.host,
                "method": check.method,
                "expected_statuses": [{"start": first, "end": last + 1} for first, last in check.statuses],
                "codec_client_type": "HTTP2" if spoken.http == 2 else "HTTP1",
            }
        }
    if health.grpc is not None:
        return {"grpc_health_check": {"service_name": health.grpc.service, "authority": spoken.host}}
    return {"tcp_health_check": _tcp_probe(spoken) if _all_relayed(addresses) else {}}


def _tcp_probe(spoken: Spoken) -> Body:
    """A relay's own socket takes every connection, so it is asked: a PROXY header without a visitor (command LOCAL)."""
    probe: Body = {"receive": [{"text": PROBE_ANSWER.hex()}]}
    return probe if spoken.headed else probe | {"proxy_protocol_config": {"version": "V2"}}


def _all_relayed(addresses: tuple[Address, ...]) -> bool:
    return all(isinstance(each, UnixSocket) for each in addresses)
