from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.endpoint_settings import EndpointSettings
from portico.edge.settings_sources import load_settings
from portico.model.balancing import (
    USUAL,
    Balancing,
    CircuitLimits,
    GrpcCheck,
    HashBy,
    HashKind,
    HealthCheck,
    HttpCheck,
    Method,
    OutlierEjection,
    SlowStart,
)
from portico.model.errors import PorticoError

HEAD = "endpoints:\n  - url: {}\n    upstreams: [10.0.0.5:80]\n"


def declared(directory: Path, text: str, url: str = "https://a.example") -> EndpointSettings:
    (directory / "edge.yml").write_text(HEAD.format(url) + "".join(f"    {line}\n" for line in text.splitlines()))
    return load_settings({"config": str(directory / "edge.yml")}, {}).endpoints[0]


def problem(directory: Path, text: str, url: str = "https://a.example") -> str:
    with pytest.raises(PorticoError) as caught:
        declared(directory, text, url)
    return caught.value.message.replace(f"{directory}/", "")


def test_nothing_said(tmp_path: Path) -> None:
    assert declared(tmp_path, "").rules() == USUAL


def test_everything_said(tmp_path: Path) -> None:
    rules = declared(
        tmp_path,
        """balancing:
  method: ring-hash
  hash_by: ['header:X-User', 'cookie:seat', 'query:user', address]
  cookie_seconds: 60
  panic_percent: 0
  zones: {near: 9, far: 1}
health_check:
  path: /health?full=1
  host: inner
  method: HEAD
  statuses: [204, 300-399]
  interval: 1
  timeout: 0.5
  unhealthy_after: 3
  healthy_after: 2
  idle_interval: 30
outlier: {consecutive_5xx: 5, consecutive_gateway: 2, consecutive_local: 3, interval: 2, rest: 7, longest_rest: 70,
  max_percent: 50}
limits: {connections: 10, pending: 20, requests: 30, retries: 4}""",
    ).rules()
    by = (
        HashBy(HashKind.HEADER, "X-User"),
        HashBy(HashKind.COOKIE, "seat", 60),
        HashBy(HashKind.QUERY, "user"),
        HashBy(HashKind.ADDRESS),
    )
    assert rules == Balancing(
        Method.RING_HASH,
        by,
        panic_percent=0,
        zone_weights=(("near", 9), ("far", 1)),
        health=HealthCheck(
            HttpCheck("/health?full=1", "inner", "HEAD", ((204, 204), (300, 399))),
            interval=1,
            timeout=0.5,
            unhealthy_after=3,
            healthy_after=2,
            idle_interval=30,
        ),
        outlier=OutlierEjection(5, 2, 3, 2, 7, 70, 50),
        limits=CircuitLimits(10, 20, 30, 4),
    )


def test_other_kinds(tmp_path: Path) -> None:
    slow = declared(tmp_path, "balancing: {method: round-robin, slow_start: 30, slow_start_percent: 20}").rules()
    assert slow.slow_start == SlowStart(30, 20)
    assert declared(tmp_path, "health_check: {type: tcp}", "tcp://a.example:20000").rules().health == HealthCheck()
    grpc = declared(tmp_path, "upstream_protocol: http2\nhealth_check: {type: grpc, service: music}").rules()
    assert grpc.health == HealthCheck(grpc=GrpcCheck("music"))


def test_upstreams_in_zones_and_as_spares(tmp_path: Path) -> None:
    endpoint = load_settings(
        {"config": str(written(tmp_path, "{url: 10.0.0.5:80, zone: near, priority: 2, weight: 3}"))}, {}
    ).endpoints[0]
    (address,) = endpoint.request().upstreams
    assert (address.zone, address.priority, address.weight) == ("near", 2, 3)


def written(directory: Path, upstream: str) -> Path:
    path = directory / "edge.yml"
    path.write_text(f"endpoints:\n  - url: https://a.example\n    upstreams: [{upstream}]\n")
    return path


def test_rules_for_agents_alone_and_for_labelled_tunnels(tmp_path: Path) -> None:
    path = tmp_path / "edge.yml"
    path.write_text(
        "endpoints:\n"
        "  - {url: https://a.example, health_check: {type: grpc}}\n"
        "  - {url: https://b.example, labels: {edge: b}, limits: {requests: 5}}\n"
    )
    first, second = load_settings({"config": str(path)}, {}).endpoints
    assert first.rules().health == HealthCheck(grpc=GrpcCheck())
    assert second.rules().limits == CircuitLimits(requests=5)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("balancing: {metod: random}", 4, "there is no such key; did you mean 'method'?"),
        ("balancing: {method: fastest}", 4, "'least-request', 'round-robin', 'random', 'ring-hash' or 'maglev'"),
        ("balancing: {method: maglev, hash_by: ['header:a b']}", 4, "is not the name of a header"),
        ("balancing: {method: maglev, hash_by: [ip]}", 4, "is nothing to hash by"),
        ("balancing: {method: maglev, hash_by: [address:x]}", 4, "address has no name"),
        ("balancing: {hash_by: [address]}", 4, "hash_by is for ring-hash and maglev, not for least-request"),
        ("balancing: {method: maglev, cookie_seconds: 5}", 4, "cookie_seconds needs a cookie"),
        ("balancing: {method: random, slow_start: 5}", 4, "slow_start is for least-request and round-robin"),
        ("balancing: {slow_start_percent: 5}", 4, "slow_start_percent needs slow_start"),
        ("balancing: {zones: {'a b': 1}}", 4, "is not the name of a zone"),
        ("health_check:\n  path: health", 5, "'health' is not a path"),
        ("health_check:\n  statuses: [300-200]", 5, "runs backwards"),
        ("health_check:\n  statuses: [2xx]", 5, "is neither a status nor a range"),
        ("health_check: {type: tcp, path: /}", 4, "path: not for a check of type tcp"),
        ("health_check: {type: tcp, timeout: 0.5}", 4, "a tcp check needs a timeout"),
        ("health_check: {type: grpc}", 2, "a grpc check needs upstream_protocol http2"),
        ("health_check: {interval: 0}", 4, "greater than 0"),
        ("outlier: {rest: 50}", 4, "longest_rest is shorter than rest"),
        ("limits: {requests: 0}", 4, "greater than or equal to 1"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, text: str, line: int, reason: str) -> None:
    said = problem(tmp_path, text)
    assert reason in said
    assert f"edge.yml:{line}" in said


def test_bytes_are_hashed_by_address_alone(tmp_path: Path) -> None:
    text = "balancing: {method: maglev, hash_by: ['header:x']}"
    assert "hashed by address alone" in problem(tmp_path, text, "tcp://a.example:20000")


@given(value=st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text(), max_size=2)))
def test_no_value_of_a_hash_or_a_status_breaks_the_reader(value: object) -> None:
    entry = {"url": "https://a.example", "upstreams": ["10.0.0.5:80"]}
    for part in ({"balancing": {"method": "maglev", "hash_by": [value]}}, {"health_check": {"statuses": [value]}}):
        try:
            EndpointSettings.model_validate(entry | part)
        except ValueError as error:
            assert "validation error" in str(error)
