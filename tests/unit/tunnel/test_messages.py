import contextlib
import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.tunnel import messages
from portico.tunnel.frames import ProtocolError
from portico.tunnel.messages import (
    Auth,
    AuthExtra,
    AuthResp,
    Bind,
    BindResp,
    ErrorResp,
    PatchTunnelState,
    ProxyHeader,
    ProxyHeaderReader,
    SrvInfoResp,
    StartTunnelWithLabel,
    StopTunnel,
    StreamKind,
    TlsTermination,
    Unbind,
    UnbindResp,
    Update,
    UpstreamFailed,
)

# As the SDKs sent them, shortened in places that are not looked at.
PYTHON_AUTH = """{"Version":["3","2"],"ClientId":"","Extra":{"OS":"linux","Arch":"x86_64","AuthToken":"tok_abc",
"Version":"1.4.0","Hostname":"","UserAgent":"ngrok-python/1.4.0 ngrok-rust/0.14.0-pre.14","Metadata":"sess-meta",
"Cookie":"","HeartbeatInterval":10000000000,"HeartbeatTolerance":15000000000,
"UpdateUnsupportedError":"the agent has not defined a callback for this operation","ProxyType":"","MutualTLS":false,
"ServiceRun":false,"ConfigVersion":"","CustomInterface":false,"CustomCAs":false,"ClientType":"ngrok-python"}}"""
GO_AUTH = """{"Version":["3","2"],"ClientId":"","Extra":{"OS":"linux","Arch":"amd64","Authtoken":"tok_go",
"Version":"2.1.1","Hostname":"","UserAgent":"ngrok-go/2.1.1","Metadata":"am","Cookie":"",
"HeartbeatInterval":10000000000,"HeartbeatTolerance":15000000000,"Fingerprint":null,"UpdateUnsupportedError":"",
"StopUnsupportedError":"","RestartUnsupportedError":"","ClientType":"ngrok-go","LegNumber":0}}"""
TLS_BIND = """{"Id":"","Proto":"tls","ForwardsTo":"app://x","ForwardsProto":"","Opts":{"Hostname":"own.tunnel.test",
"Subdomain":"","ProxyProto":0,"MutualTLSAtAgent":false,"MutualTLSAtEdge":{"mutual_tls_ca":"LS0tLS0="},
"TLSTermination":{"cert":"Y2VydA==","key":"a2V5"},"IPRestriction":null,"TrafficPolicy":null},
"Extra":{"Token":"","IPPolicyRef":"","Metadata":"","Bindings":[]}}"""
GO_BIND = """{"Id":"","Proto":"https","ForwardsTo":"app://x","ForwardsProto":"","Opts":{"URL":"https://g1.tunnel.test",
"Domain":"","Hostname":"","Subdomain":"","Auth":"","HostHeaderRewrite":false,"LocalURLScheme":"","ProxyProto":0,
"Compression":null,"Policy":null,"TrafficPolicy":"{}"},"Extra":{"Name":"nm","Token":"","IPPolicyRef":"","Metadata":"m",
"Description":"d","Bindings":["public"],"PoolingEnabled":true}}"""


@pytest.mark.parametrize(("text", "token"), [(PYTHON_AUTH, "tok_abc"), (GO_AUTH, "tok_go")])
def test_every_spelling_of_auth_is_read(text: str, token: str) -> None:
    auth = Auth.from_json(json.loads(text))
    assert auth.version == ["3", "2"]
    assert auth.extra.authtoken == token
    assert auth.extra.heartbeat_interval == 10 * messages.NANOSECONDS


def test_go_says_supported_with_an_empty_text() -> None:
    assert Auth.from_json(json.loads(GO_AUTH)).extra.stop_unsupported_error == ""
    assert Auth.from_json(json.loads(PYTHON_AUTH)).extra.stop_unsupported_error is None


def test_binds_keep_their_options_as_they_came() -> None:
    raw = json.loads(TLS_BIND)
    bind = Bind.from_json(raw)
    assert bind.opts == raw["Opts"]
    assert bind.options.hostname == "own.tunnel.test"
    assert bind.options.tls_termination == TlsTermination(cert=b"cert", key=b"key")
    assert bind.options.mutual_tls_at_edge is not None
    assert bind.options.mutual_tls_at_edge.mutual_tls_ca == b"-----"
    go = Bind.from_json(json.loads(GO_BIND))
    assert (go.options.url, go.options.traffic_policy, go.extra.pooling_enabled) == (
        "https://g1.tunnel.test",
        "{}",
        True,
    )


def test_an_automatic_certificate_differs_from_pass_through() -> None:
    def termination(value: object) -> TlsTermination | None:
        return Bind.from_json({"Proto": "tls", "Opts": {"TLSTermination": value}}).options.tls_termination

    assert termination({}) == TlsTermination()
    assert termination(None) is None


def test_secrets_are_in_no_repr() -> None:
    shown = "".join(
        repr(value)
        for value in (
            Auth(extra=AuthExtra(authtoken="tok_secret", cookie="tok_secret")),
            Bind.from_json(json.loads(TLS_BIND)),
            Bind.from_json(json.loads(TLS_BIND)).options,
            BindResp(opts={"key": "tok_secret"}),
            TlsTermination(key=b"tok_secret"),
        )
    )
    assert "secret" not in shown
    assert "a2V5" not in shown
    assert "b'key'" not in shown


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Unbind(id="a"), {"Id": "a"}),
        (UnbindResp(), {"Error": "", "Extra": None}),
        (ErrorResp(), {"Error": ""}),
        (SrvInfoResp(region="self"), {"Region": "self"}),
        (Update(version="9.9.9", permit_major_version=True), {"Version": "9.9.9", "PermitMajorVersion": True}),
        (PatchTunnelState(tunnel_id="tn_1", pooling_enabled=True), {"TunnelId": "tn_1", "PoolingEnabled": True}),
        (StopTunnel(id="a", message="m", error_code="E"), {"Id": "a", "Message": "m", "ErrorCode": "E"}),
        (UpstreamFailed(id="a", code=8012, reason="r"), {"Id": "a", "Code": 8012, "Reason": "r", "Stream": 0}),
        (
            StartTunnelWithLabel(labels={"edge": "e1"}),
            {"Labels": {"edge": "e1"}, "ForwardsTo": "", "ForwardsProto": "", "Metadata": ""},
        ),
    ],
)
def test_messages_have_their_names_on_the_wire(message: messages.Message, wire: dict) -> None:
    assert message.to_json() == wire
    assert type(message).from_json({key.upper(): value for key, value in wire.items()}) == message


def test_answers_have_what_rust_requires() -> None:
    assert {"Version", "ClientId"} <= AuthResp().to_json().keys()
    answer = BindResp(id="a", url="https://a", proto="https", opts={"Hostname": "a"}).to_json()
    assert {"Id", "URL", "Proto", "Opts", "Extra"} <= answer.keys()
    assert answer["Extra"] == {"Token": "", "TunnelID": ""}


def test_wrong_types_are_named_without_their_value() -> None:
    with pytest.raises(ProtocolError, match="ClientId") as caught:
        Auth.from_json({"ClientId": ["tok_secret"]})
    assert "secret" not in str(caught.value)
    with pytest.raises(ProtocolError, match="TLSTermination"):
        _ = Bind.from_json({"Proto": "tls", "Opts": {"TLSTermination": {"key": "*"}}}).options
    with pytest.raises(ProtocolError):
        Bind.from_json({"Opts": {}})


@pytest.mark.parametrize("name", ["HeartbeatInterval", "HeartbeatTolerance"])
def test_numbers_that_go_has_not_are_refused(name: str) -> None:
    """No float of seconds can be made of them."""
    for number in (10**400, -(10**400), 2**63):
        with pytest.raises(ProtocolError, match=name):
            Auth.from_json({"Extra": {name: number}})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["id", "Version", "CLIENTID", "extra", "Opts", "Proto", "TLSTermination", "cert", "Labels", "ProxyProto"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values | st.dictionaries(st.sampled_from(NAMES), json_values)))
def test_any_object_is_a_message_or_a_protocol_error(raw: dict) -> None:
    for kind in (Auth, Bind, messages.BindOptions, StartTunnelWithLabel, StopTunnel, ProxyHeader):
        with contextlib.suppress(ProtocolError):
            kind.from_json(raw)


def test_the_proxy_header_is_what_was_captured() -> None:
    header = ProxyHeader(id="b8eb5f831c56227e", client_addr="127.0.0.1:55292", proto="https")
    wire = header.encode()
    assert wire[:8] == (len(wire) - 8).to_bytes(8, "little")
    assert msgspec.json.decode(wire[8:]) == {
        "Id": "b8eb5f831c56227e",
        "ClientAddr": "127.0.0.1:55292",
        "Proto": "https",
        "EdgeType": "0",
        "PassthroughTLS": False,
    }


@given(st.lists(st.integers(0, 500)))
def test_a_proxy_header_is_read_in_any_split(places: list[int]) -> None:
    header = ProxyHeader(id="x", client_addr="[::1]:1", proto="tls", passthrough_tls=True)
    data = header.encode() + b"GET"
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    reader = ProxyHeaderReader()
    for start, end in itertools.pairwise(edges):
        found = reader.feed(data[start:end])
        if found is not None:
            assert found == header
            assert reader.rest + data[end:] == b"GET"
            return
    pytest.fail("no header was found")


@pytest.mark.parametrize("data", [bytes(8), b"\xff" * 8, (2 << 20).to_bytes(8, "little"), b"\2" + bytes(7) + b"[]"])
def test_a_broken_proxy_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ProxyHeaderReader().feed(data)


def test_kinds_are_those_of_the_wire() -> None:
    assert StreamKind.UPSTREAM_FAILED.to_bytes(4, "big") == b"PORT"
    assert messages.field({"errOR": "x"}, "Error") == "x"
    assert messages.field({}, "Error") is None
