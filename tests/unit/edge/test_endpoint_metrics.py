import pytest
from prometheus_client.parser import text_string_to_metric_families

from portico.edge.endpoint_metrics import EndpointMetrics
from portico.model.endpoint import Endpoint, EndpointUrl, UnixSocket
from portico.translate.metrics import OTHERS, stat_name


def online(host: str) -> Endpoint:
    return Endpoint(EndpointUrl.parse(f"https://{host}.edge.test"), (UnixSocket("/a.sock"),))


def envoys(name: str) -> str:
    label = f'envoy_cluster_name="{name}"'
    return (
        f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",{label}}} 7\n'
        f"envoy_cluster_upstream_cx_total{{{label}}} 3\n"
        f"envoy_cluster_upstream_cx_tx_bytes_total{{{label}}} 100\n"
        f"envoy_cluster_upstream_cx_rx_bytes_total{{{label}}} 200\n"
        f"envoy_cluster_upstream_rq_active{{{label}}} 1\n"
        f"envoy_cluster_upstream_cx_active{{{label}}} 2\n"
        f'envoy_cluster_upstream_rq_time_bucket{{{label},le="500"}} 6\n'
        f'envoy_cluster_upstream_rq_time_bucket{{{label},le="+Inf"}} 7\n'
        f"envoy_cluster_upstream_rq_time_sum{{{label}}} 1500\n"
        f"envoy_cluster_upstream_rq_time_count{{{label}}} 7\n"
    )


def by_name(labels: dict[str, str]) -> list[str]:
    """Values, the endpoint's first."""
    return [labels[name] for name in sorted(labels, key=lambda name: (name != "endpoint", name))]


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("portico_endpoint_"), *by_name(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_first_that_come_have_figures_until_they_go() -> None:
    metrics = EndpointMetrics(2)
    assert [metrics.admits(online(name)) for name in ("a", "b", "c", "a")] == [True, True, False, True]
    metrics.forget(online("a").url)
    assert [metrics.admits(online(name)) for name in ("c", "a")] == [True, False]


def test_who_is_offline_holds_no_place() -> None:
    metrics = EndpointMetrics(1)
    offline = Endpoint(online("a").url, ())
    assert not metrics.admits(offline)
    assert metrics.admits(online("b"))
    assert not metrics.admits(Endpoint(online("b").url, ()))
    assert metrics.admits(online("c"))


def test_envoys_figures_get_our_names_and_units() -> None:
    metrics = EndpointMetrics(1)
    metrics.admits(online("a"))
    told = 'envoy_server_live{} 1\nenvoy_cluster_upstream_cx_total{envoy_cluster_name="ads"} 1\n'
    shown = metrics.shown(told + envoys(stat_name(online("a").url)) + envoys(OTHERS))
    assert shown.startswith(told)
    found = values(shown[len(told) :])
    for label in ("https://a.edge.test", "other"):
        assert {key: value for key, value in found.items() if key[1] == label} == {
            ("requests_total", label, "2xx"): 7,
            ("connections_total", label): 3,
            ("bytes_total", label, "in"): 100,
            ("bytes_total", label, "out"): 200,
            ("active_requests", label): 1,
            ("active_connections", label): 2,
            ("request_seconds_bucket", label, "0.5"): 6,
            ("request_seconds_bucket", label, "+Inf"): 7,
            ("request_seconds_sum", label): 1.5,
            ("request_seconds_count", label): 7,
        }


def test_what_an_endpoint_that_went_has_left_in_envoy_is_not_shown() -> None:
    metrics = EndpointMetrics(1)
    metrics.admits(online("a"))
    metrics.forget(online("a").url)
    assert "a.edge.test" not in metrics.shown(envoys(stat_name(online("a").url)))


@pytest.mark.parametrize("most", [None, 5])
def test_the_number_of_series_is_bounded(most: int | None) -> None:
    metrics = EndpointMetrics(most)
    admitted = [endpoint for number in range(200) if metrics.admits(endpoint := online(f"e{number}"))]
    assert len(admitted) == (most or 0)
    text = "".join(envoys(stat_name(endpoint.url)) for endpoint in admitted) + (envoys(OTHERS) if most else "")
    labels = {key[1] for key in values(metrics.shown(text))}
    assert len(labels) == (most + 1 if most else 0)
