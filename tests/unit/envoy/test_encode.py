"""Plain dicts become Envoy's messages; what does not fit is named by its path."""

import contextlib
import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from kit.envoy import URL, cluster, http_listener, message_types, on_demand_certificate, scope, tls_socket
from portico.envoy.bootstrap import BootstrapSettings, bootstrap
from portico.envoy.encode import Codec, EncodeError
from portico.translate.resource import CLUSTER, LISTENER, SCOPE

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
BOOTSTRAP = f"{URL}envoy.config.bootstrap.v3.Bootstrap"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(message_types())


def extension(**fields: object) -> dict[str, object]:
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: {"@type": URL + HTTP_OPTIONS, **fields}}}


class TestEncode:
    @pytest.mark.parametrize(
        "resource", [cluster("c", "/run/u.sock"), scope("a.test", "c"), http_listener(443)], ids=["c", "s", "l"]
    )
    def test_agrees_with_protobufs_own_json(self, codec, resource, tmp_path):
        pool = message_types()._pool
        message = message_types().message(resource.type_url.removeprefix(URL))()
        json_format.Parse(json.dumps(resource.body), message, descriptor_pool=pool)
        assert codec.encode(resource.type_url, resource.body) == message.SerializeToString(deterministic=True)

    @pytest.mark.parametrize("body", [
        {"name": "c", "type": "EDS", "respect_dns_ttl": True},
        {"connect_timeout": "0.25s"},
        {"connect_timeout": "-1.5s"},
        {"per_connection_buffer_limit_bytes": 32768},
        {"per_connection_buffer_limit_bytes": 0},
        {"load_assignment": {"endpoints": [{"lb_endpoints": [{"load_balancing_weight": 3}]}]}},
        {"metadata": {"filter_metadata": {"a": {"b": [1.5, "x", None, True, {"c": {}}], "d": []}}}},
        {"circuit_breakers": {"thresholds": [{"max_connections": 1}, {"priority": "HIGH"}]}},
        {"health_checks": [{"timeout": "1s", "interval": "2s", "alt_port": 80, "reuse_connection": False}]},
        {"common_lb_config": {"healthy_panic_threshold": {"value": 50.5}}},
        {"transport_socket_matches": [{"name": "m", "match": {"tls": "yes"}}]},
        {"health_checks": [{"tcp_health_check": {"send": {"binary": "AAEC"}}}]},
        extension(explicit_http_config={"http2_protocol_options": {}}),
        extension(common_http_protocol_options={"idle_timeout": "60s"}),
    ])  # fmt: skip
    def test_comes_back_as_it_went(self, codec, body):
        assert codec.decode(CLUSTER, codec.encode(CLUSTER, body)) == body

    def test_takes_bytes_and_base64(self, codec):
        def checks(value: object) -> dict[str, object]:
            return {"health_checks": [{"tcp_health_check": {"send": {"binary": value}}}]}

        assert codec.encode(CLUSTER, checks(b"\x00\x01")) == codec.encode(CLUSTER, checks("AAE="))

    def test_takes_wrappers_and_bare_types_inside_any(self, codec):
        for inner in (
            {"@type": f"{URL}google.protobuf.StringValue", "value": "chain"},
            {"@type": f"{URL}google.protobuf.Duration", "value": "5s"},
            {"@type": f"{URL}google.protobuf.Struct", "value": {"a": [1]}},
        ):
            body = {"typed_extension_protocol_options": {"x": inner}}
            assert codec.decode(CLUSTER, codec.encode(CLUSTER, body)) == body

    def test_takes_null_as_not_set(self, codec):
        assert codec.encode(CLUSTER, {"name": "a", "connect_timeout": None}) == codec.encode(CLUSTER, {"name": "a"})

    def test_same_content_is_the_same_bytes_in_any_order(self, codec):
        one = {"metadata": {"filter_metadata": {"a": {}, "b": {}, "c": {}}}, "name": "x"}
        other = {"name": "x", "metadata": {"filter_metadata": {"c": {}, "b": {}, "a": {}}}}
        assert codec.encode(CLUSTER, one) == codec.encode(CLUSTER, other)

    def test_knows_the_whole_of_this_envoy(self, codec, tmp_path):
        settings = BootstrapSettings("n", tmp_path / "xds.sock")
        body = bootstrap(settings, tmp_path / "admin.sock")
        assert codec.decode(BOOTSTRAP, codec.encode(BOOTSTRAP, body))["node"] == body["node"]
        chain = {"transport_socket": tls_socket(**on_demand_certificate())}
        assert codec.encode(LISTENER, {"name": "l", "filter_chains": [chain], "fcds_config": {}})
        assert codec.encode(CLUSTER, {"name": "c", "stats_matcher": {"reject_all": True}})

    @given(body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "connect_timeout", "load_assignment", "endpoints", "metadata",
            "filter_metadata", "health_checks", "typed_extension_protocol_options", "@type", "type", "x"]), inner,
            max_size=4),
        max_leaves=12,
    ))  # fmt: skip
    def test_never_fails_but_with_a_path(self, codec, body):
        try:
            codec.encode(CLUSTER, body)
        except EncodeError as error:
            assert str(error).startswith("Cluster")

    @given(value=st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ))  # fmt: skip
    def test_any_json_goes_through_a_struct(self, codec, value):
        body = {"metadata": {"filter_metadata": {"x": {"value": value}}}}
        assert codec.decode(CLUSTER, codec.encode(CLUSTER, body)) == body


class TestErrors:
    @pytest.mark.parametrize(("body", "told"), [
        ({"nme": 1}, "Cluster.nme: Cluster has no such field"),
        ({"name": 5}, "Cluster.name: int does not fit"),
        ({"name": ["a"]}, "Cluster.name: list does not fit"),
        ({"connect_timeout": "5"}, "Cluster.connect_timeout: does not fit ('5' is not a duration"),
        ({"connect_timeout": 5}, "Cluster.connect_timeout"),
        ({"type": "FOO"}, 'Cluster.type: unknown enum label "FOO"'),
        ({"respect_dns_ttl": 1}, "Cluster.respect_dns_ttl: int does not fit"),
        ({"per_connection_buffer_limit_bytes": -1}, "Cluster.per_connection_buffer_limit_bytes"),
        ({"health_checks": {}}, "Cluster.health_checks: dict where a list belongs"),
        ({"load_assignment": [1]}, "Cluster.load_assignment: list where an object belongs"),
        ({"load_assignment": {"endpoints": [{}, {"lb_endpoints": [{"endpoint": {"adress": 1}}]}]}},
         "Cluster.load_assignment.endpoints[1].lb_endpoints[0].endpoint.adress: Endpoint has no such field"),
        ({"metadata": {"filter_metadata": {"a": {"b": {1, 2}}}}}, "Cluster.metadata.filter_metadata['a']"),
        ({"typed_extension_protocol_options": {"x": {}}}, "options['x']: no \"@type\""),
        ({"typed_extension_protocol_options": {"x": {"@type": URL + "no.Such"}}}, "this Envoy knows no type no.Such"),
        (extension(upstream={}), f"['{HTTP_OPTIONS}'].upstream: HttpProtocolOptions has no such field"),
    ])  # fmt: skip
    def test_names_the_path(self, codec, body, told):
        with pytest.raises(EncodeError) as caught:
            codec.encode(CLUSTER, body)
        assert told in str(caught.value)

    def test_does_not_repeat_a_secret(self, codec):
        body = {"tls_certificate": {"private_key": {"inline_bytes": "hunter2!"}}}
        with pytest.raises(EncodeError) as caught:
            codec.encode(f"{URL}envoy.extensions.transport_sockets.tls.v3.Secret", body)
        assert "hunter2" not in str(caught.value)
        assert "private_key.inline_bytes" in str(caught.value)

    def test_unknown_type(self, codec):
        with pytest.raises(EncodeError, match=r"knows no type no\.Such"):
            codec.encode(f"{URL}no.Such", {})
        with pytest.raises(EncodeError, match=r"no\.Such"):
            codec.decode(f"{URL}no.Such", b"")

    @given(payload=st.binary(max_size=64))
    def test_decode_of_anything(self, codec, payload):
        with contextlib.suppress(EncodeError):
            codec.decode(SCOPE, payload)
