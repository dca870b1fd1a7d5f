"""Traffic policies of the settings' endpoints: what they become, and what is told of wrong ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.bind_request import BindRequest
from portico.edge.declared_policy import read_inline_policy
from portico.edge.settings_sources import load_settings
from portico.model.endpoint import EdgeTls, Networks, TlsVersion
from portico.model.errors import PorticoError

ANSWER = "on_http_request: [{actions: [{type: custom-response, config: {status_code: 200, body: hello}}]}]"
TAG = "on_http_response: [{actions: [{type: add-headers, config: {headers: {x-by: policy}}}]}]"
WAYS = ("traffic_policy: {{{0}}}", "traffic_policy: |\n      {0}", "traffic_policy_file: policy.yml")


def requested(directory: Path, *lines: str) -> BindRequest:
    written = "\n    ".join(lines)
    (directory / "edge.yml").write_text(f"endpoints:\n  - {written}\n")
    return load_settings({"config": str(directory / "edge.yml")}, {}).endpoints[0].request()


def problem(directory: Path, *lines: str) -> str:
    with pytest.raises(PorticoError) as caught:
        requested(directory, *lines)
    return caught.value.message.replace(f"{directory}/", "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", ["https://a.example", "http://a.example", "https://a.internal"])
def test_a_cloud_endpoint(tmp_path: Path, way: str, url: str) -> None:
    (tmp_path / "policy.yml").write_text(ANSWER)
    request = requested(tmp_path, f"url: {url}", way.format(ANSWER))
    assert (request.cloud, request.upstreams) == (True, ())
    assert '"body":"hello"' in request.traffic_policy
    assert "hello" not in repr(load_settings({"config": str(tmp_path / "edge.yml")}, {}))


@pytest.mark.parametrize("way", WAYS)
def test_a_policy_before_upstreams(tmp_path: Path, way: str) -> None:
    (tmp_path / "policy.yml").write_text(TAG)
    request = requested(tmp_path, "url: https://a.example", "upstreams: ['http://10.0.0.5']", way.format(TAG))
    assert (request.cloud, len(request.upstreams)) == (False, 1)
    assert "x-by" in request.traffic_policy


def test_tls_and_networks_of_policies(tmp_path: Path) -> None:
    connect = (
        "on_tcp_connect: [{actions: [{type: restrict-ips, config: {allow: [10.0.0.0/8]}}, {type: terminate-tls}]}]"
    )
    upstreams = "upstreams: ['10.0.0.5:1']"
    request = requested(tmp_path, "url: tls://a.example", upstreams, f"traffic_policy: {{{connect}}}")
    assert (request.tls, request.networks) == (EdgeTls(minimum=TlsVersion.TLS_1_2), Networks(("10.0.0.0/8",)))
    assert request.traffic_policy == ""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ("url: https://a.example", "traffic_policy:", "  on_http_request:", "    - actions: [{type: deni}]"),
            "edge.yml:5: endpoints[0].traffic_policy: on_http_request[0].actions[0].type: there is no action 'deni'; "
            "did you mean deny?",
        ),
        (
            ("url: https://a.example", "traffic_policy: |", "  on_http_request:", "    - actions: [{type: deni}]"),
            "edge.yml:3: endpoints[0].traffic_policy: line 2:16: on_http_request[0].actions[0].type: there is no "
            "action 'deni'; did you mean deny?",
        ),
        (
            ("url: https://a.example", "traffic_policy_file: wrong.yml"),
            "edge.yml:3: endpoints[0].traffic_policy_file: wrong.yml:2:16: on_http_request[0].actions[0].type: there "
            "is no action 'denu'; did you mean deny?",
        ),
        (("url: https://a.example", "traffic_policy_file: none.yml"), "cannot read 'none.yml': No such file"),
        (("url: https://a.example", "traffic_policy: [1]"), "a policy is written as keys, or as text"),
        (("url: https://a.example", "traffic_policy: 'on_http_request: ['"), "neither JSON nor YAML"),
        (("url: https://a.example", f"traffic_policy: {{{TAG}}}"), "its policy never ends a request"),
        (("url: https://a.example", "traffic_policy: {}"), "its policy never ends a request"),
        (
            ("url: https://a.example", f"traffic_policy: {{{ANSWER}}}", "traffic_policy_file: right.yml"),
            "exclude each other",
        ),
        (("url: https://a.example", "labels: {a: b}", f"traffic_policy: {{{ANSWER}}}"), "traffic_policy: only for"),
        (("url: tcp://a.example:20000", "upstreams: ['10.0.0.5:1']", f"traffic_policy: {{{ANSWER}}}"), "no requests"),
        (
            (
                "url: tcp://a.example:20000",
                "traffic_policy: {on_tcp_connect: [{actions: [{type: restrict-ips, config: {deny: [0.0.0.0/0]}}]}]}",
            ),
            "never ends a request",
        ),
        (
            (
                "url: https://a.example",
                "upstreams: ['http://10.0.0.5']",
                "tls_min_version: 1.3",
                "traffic_policy: {on_tcp_connect: [{actions: [{type: terminate-tls}]}]}",
            ),
            "tls_min_version: the policy's terminate-tls says",
        ),
        (
            (
                "url: tcp://a.example:20000",
                "upstreams: ['10.0.0.5:1']",
                "traffic_policy: {on_tcp_connect: [{actions: [{type: terminate-tls}]}]}",
            ),
            "has no TLS that could end at the edge",
        ),
    ],
)
def test_wrong_policies(tmp_path: Path, lines: tuple[str, ...], told: str) -> None:
    (tmp_path / "wrong.yml").write_text("on_http_request:\n  - actions: [{type: denu}]\n")
    (tmp_path / "right.yml").write_text(ANSWER)
    assert told in problem(tmp_path, *lines)


def test_no_problem_shows_a_password(tmp_path: Path) -> None:
    policy = "on_http_request: [{actions: [{type: basic-auth, config: {credentials: ['ada:hunter2']}}]}]"
    for way in WAYS[:2]:
        assert "hunter2" not in problem(tmp_path, "url: https://a.example", way.format(policy))


@given(st.text(max_size=60))
def test_any_text_is_a_policy_or_a_problem(text: str) -> None:
    try:
        assert isinstance(read_inline_policy(text), str)
    except ValueError as error:
        assert str(error)
