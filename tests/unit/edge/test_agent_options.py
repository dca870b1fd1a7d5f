"""The agent protocol's door: every option of a Bind becomes a value, a clear refusal, or both ends of the echo."""

import base64
import contextlib
import datetime
import json
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from kit.client_certificates import HOUR, VisitorAuthority
from portico.edge.agent_options import bind_request, echoed_options, labelled_request, with_policy
from portico.edge.bind_request import BindRequest
from portico.model.endpoint import ClientVerification, EdgeTls, EndpointUrl, KeyPair, Networks, Scheme, TlsVersion
from portico.model.errors import PorticoError
from portico.tunnel.frames import ProtocolError
from portico.tunnel.messages import Bind, StartTunnelWithLabel

MEMBERS, OTHERS = VisitorAuthority("members"), VisitorAuthority("others")
OWN = MEMBERS.issue("app.example.com", dns=["app.example.com"])


def encrypted(key: str) -> str:
    private = serialization.load_pem_private_key(key.encode(), None)
    hidden = serialization.BestAvailableEncryption(b"passphrase")
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    return pem.decode()


def request(proto: str = "https", extra: dict[str, object] | None = None, **opts: object) -> BindRequest:
    return bind_request(Bind.from_json({"Proto": proto, "Opts": opts, "Extra": extra or {}}))


def refused(number: int, word: str):
    return pytest.raises(
        PorticoError, check=lambda error: error.code.number == number and word.lower() in error.message.lower()
    )


def authority(name: str, *, is_ca: bool = True) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@pytest.mark.parametrize(
    ("opts", "host"),
    [
        ({"Domain": "a.example.com"}, "a.example.com"),
        ({"Hostname": "a.example.com"}, "a.example.com"),
        ({"Subdomain": "shop"}, "shop"),
        ({"URL": "https://a.example.com"}, "a.example.com"),
        ({"URL": "a.example.com"}, "a.example.com"),
        ({"URL": "https://a.example.com:24442"}, "a.example.com"),
        ({"Domain": "new.example.com", "Hostname": "old.example.com"}, "new.example.com"),
        ({"URL": "https://*.example.com"}, "*.example.com"),
        ({"URL": "https://"}, None),
        ({}, None),
    ],
)
def test_every_place_that_sdks_write_a_name_in(opts: dict[str, object], host: str | None) -> None:
    assert request(**opts) == BindRequest(Scheme.HTTPS, host, tls=EdgeTls())


@pytest.mark.parametrize(
    ("opts", "place"),
    [
        ({"Addr": "1.example.com:20001"}, ("1.example.com", 20_001)),
        ({"Addr": ""}, (None, None)),
        ({"URL": "tcp://"}, (None, None)),
        ({"URL": "tcp://1.example.com:20001"}, ("1.example.com", 20_001)),
        ({"Addr": ":20001"}, (None, 20_001)),
        ({"Addr": "127.0.0.1:20001"}, ("127.0.0.1", 20_001)),
    ],
)
def test_tcp_addresses(opts: dict[str, object], place: tuple[str | None, int | None]) -> None:
    wanted = request("tcp", **opts)
    assert (wanted.scheme, wanted.host, wanted.port) == (Scheme.TCP, *place)


def test_the_url_s_scheme_goes_before_the_proto() -> None:
    assert request("https", URL="http://a.example.com").scheme is Scheme.HTTP


def test_tls_passes_through_unless_termination_is_given() -> None:
    assert request("tls", Hostname="a.example.com", TLSTermination=None).tls is None
    assert request("tls", Hostname="a.example.com", TLSTermination={}).tls == EdgeTls()


def test_own_pair_and_authorities_arrive_as_pem() -> None:
    pem = authority("Test CA")
    wanted = request(
        "tls",
        TLSTermination={"cert": encoded(OWN.certificate.encode()), "key": encoded(OWN.key.encode())},
        MutualTLSAtEdge={"mutual_tls_ca": encoded(pem)},
    )
    assert wanted.tls == EdgeTls(OWN, client_authorities=pem.decode())
    assert request("https", MutualTLSCA={"mutual_tls_ca": encoded(pem)}).tls == EdgeTls(client_authorities=pem.decode())


def terminate_tls(**config: object) -> dict[str, object]:
    return {"on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": config}]}]}


@pytest.mark.parametrize("proto", ["https", "tls"])
def test_the_policy_ends_tls(proto: str) -> None:
    policy = terminate_tls(
        min_version="1.3",
        server_certificate=OWN.certificate,
        server_private_key=OWN.key,
        mutual_tls_certificate_authorities=[MEMBERS.pem, OTHERS.pem],
        mutual_tls_verification_strategy="verify-if-given",
    )
    assert request(proto, TrafficPolicy=json.dumps(policy)).tls == EdgeTls(
        OWN,
        client_authorities=MEMBERS.pem + OTHERS.pem,
        verification=ClientVerification.VERIFY_IF_GIVEN,
        minimum=TlsVersion.TLS_1_3,
    )
    assert request(proto, Policy=terminate_tls()).tls == EdgeTls()


def test_a_bundle_may_bring_its_revocation_lists() -> None:
    crl = MEMBERS.revocations(MEMBERS.issue())
    tls = request("https", MutualTLSCA={"mutual_tls_ca": encoded((MEMBERS.pem + crl).encode())}).tls
    assert tls == EdgeTls(client_authorities=MEMBERS.pem, revocations=crl)


@pytest.mark.parametrize("proto", ["http", "tcp"])
def test_nothing_ends_where_there_is_no_tls(proto: str) -> None:
    with refused(20_005, f"an endpoint of {proto} has no TLS"):
        request(proto, TrafficPolicy=json.dumps(terminate_tls()))


def test_each_thing_is_said_in_one_place() -> None:
    policy = terminate_tls(mutual_tls_certificate_authorities=[MEMBERS.pem])
    with refused(20_005, "keep one"):
        request("https", TrafficPolicy=json.dumps(policy), MutualTLSCA={"mutual_tls_ca": encoded(MEMBERS.pem.encode())})


def test_the_edge_s_minimum_is_a_floor() -> None:
    opts = {"TrafficPolicy": json.dumps(terminate_tls(max_version="1.2"))}
    with refused(20_005, "1.2 is below 1.3"):
        bind_request(Bind.from_json({"Proto": "https", "Opts": opts}), TlsVersion.TLS_1_3)


@pytest.mark.parametrize(
    ("pair", "word"),
    [
        (KeyPair(OWN.certificate, MEMBERS.issue().key), "does not match the certificate of 'app.example.com'"),
        (MEMBERS.issue("old", starts=-3 * HOUR, lasts=HOUR, dns=["a.example"]), "'old' expired on"),
        (MEMBERS.issue("early", starts=HOUR, dns=["a.example"]), "'early' is not valid before"),
        (KeyPair("no PEM", OWN.key), "no PEM certificate"),
        (KeyPair(OWN.key, OWN.key), "a private key where a certificate should be"),
        (KeyPair(OWN.certificate, encrypted(OWN.key)), "is encrypted"),
    ],
)
def test_a_pair_that_is_unfit_is_refused_with_the_reason(pair: KeyPair, word: str) -> None:
    with refused(20_068, word):
        request("tls", TLSTermination={"cert": encoded(pair.certificate.encode()), "key": encoded(pair.key.encode())})
    policy = terminate_tls(server_certificate=pair.certificate, server_private_key=pair.key)
    with refused(20_068, word):
        request("https", TrafficPolicy=json.dumps(policy))


@pytest.mark.parametrize(
    ("pem", "word"),
    [
        (VisitorAuthority("old CA", starts=-3 * HOUR, lasts=HOUR).pem, "'old CA') expired on"),
        (VisitorAuthority("no CA", is_ca=False).pem, "'no CA') is not a CA"),
        ("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n", "cannot be read"),
        ("nothing", "no PEM certificate"),
    ],
)
def test_row_2_10_an_unfit_authority_is_refused_with_subject_and_reason(pem: str, word: str) -> None:
    with refused(20_068, word):
        request("https", MutualTLSCA={"mutual_tls_ca": encoded(pem.encode())})
    with refused(20_068, word):
        request("tls", TrafficPolicy=json.dumps(terminate_tls(mutual_tls_certificate_authorities=[pem])))


def test_mutual_tls_without_termination_is_refused() -> None:
    with refused(20_005, "TLS does not end there"):
        request("tls", MutualTLSAtEdge={"mutual_tls_ca": encoded(authority("Test CA"))})


def test_a_ca_that_is_none_is_refused_with_its_subject() -> None:
    with refused(20_068, "Not a CA"):
        request("https", MutualTLSCA={"mutual_tls_ca": encoded(authority("Not a CA", is_ca=False))})


def test_more_than_ten_authorities_are_refused() -> None:
    bundle = b"".join(authority(f"CA {number}") for number in range(11))
    with refused(20_005, "11"):
        request("https", MutualTLSCA={"mutual_tls_ca": encoded(bundle)})


@pytest.mark.parametrize("half", [{"cert": encoded(b"CERT")}, {"key": encoded(b"KEY")}])
def test_half_a_pair_is_refused(half: dict[str, str]) -> None:
    with refused(20_005, "needs its key"):
        request("tls", TLSTermination=half)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("OAuth", {"provider": "google"}, "oauth: client_id and client_secret are missing"),
        ("OAuth", {"provider": "nix"}, "oauth: provider: must be"),
        ("BasicAuth", {"credentials": [{"username": "ann", "cleartext_password": "x"}]}, "basic-auth: credentials[0]:"),
    ],
)
def test_a_wrong_option_is_told_by_its_name_and_not_as_a_policy(option: str, value: object, said: str) -> None:
    with pytest.raises(PorticoError) as caught:
        request(**{option: value})
    assert caught.value.message.startswith(said)
    assert caught.value.fix.startswith("Correct the options for ")


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("TrafficPolicy", '{"on_http_request": [{"actions": [{"type": "owasp-crs-request"}]}]}', "traffic polic"),
        ("Policy", {"inbound": [{"name": "x", "actions": [{"type": "saml"}]}]}, "traffic polic"),
    ],
)
def test_what_nothing_enforces_is_refused_and_its_values_are_not_told(option: str, value: object, word: str) -> None:
    with pytest.raises(PorticoError) as caught:
        request(**{option: value})
    assert caught.value.code.number == 20_006
    assert word.lower() in caught.value.message.lower()
    assert "hunter22" not in str(caught.value)


def test_policies_of_both_options_run_one_behind_the_other() -> None:
    deny = {"name": "", "actions": [{"type": "deny"}]}
    asked = request(
        TrafficPolicy="on_http_request: [{actions: [{type: log, config: {metadata: {a: b}}}]}]",
        Policy={"inbound": [deny]},
    )
    rules = json.loads(asked.traffic_policy)["on_http_request"]
    assert [rule["actions"][0]["type"] for rule in rules] == ["log", "deny"]


def test_terminate_tls_leaves_no_key_in_the_policy() -> None:
    policy = terminate_tls(server_certificate=OWN.certificate, server_private_key=OWN.key)
    assert request("https", TrafficPolicy=json.dumps(policy)).traffic_policy == ""


@pytest.mark.parametrize("policy", ['{"on_http_request": []}', "on_http_request: []", "", {}])
def test_a_policy_without_rules_is_no_policy(policy: object) -> None:
    assert request(TrafficPolicy=policy).scheme is Scheme.HTTPS


def test_networks_arrive_in_their_canonical_form() -> None:
    wanted = request(IPRestriction={"allow_cidrs": ["10.1.2.3/8", "2001:db8::1"], "deny_cidrs": ["10.9.0.0/16"]})
    assert wanted.networks == Networks(("10.0.0.0/8", "2001:db8::1/128"), ("10.9.0.0/16",))
    assert request(IPRestriction=None).networks is None


def test_networks_that_are_none() -> None:
    with refused(20_005, "10.0.0.0/99"):
        request(IPRestriction={"allow_cidrs": ["10.0.0.0/99"]})
    with refused(20_005, "201"):
        request(IPRestriction={"deny_cidrs": ["10.0.0.0/8"] * 201})


def test_networks_of_the_option_and_of_the_policy_of_a_tcp_endpoint() -> None:
    rule = {"actions": [{"type": "restrict-ips", "config": {"allow": ["10.1.0.0/16"], "deny": ["10.1.1.0/24"]}}]}
    policy = json.dumps({"on_tcp_connect": [rule]})
    wanted = request("tcp", IPRestriction={"deny_cidrs": ["10.1.2.0/24"]}, TrafficPolicy=policy)
    assert wanted.networks is not None
    inside = [ip_network(one) for one in wanted.networks.ranges()]
    found = [any(ip_address(ip) in one for one in inside) for ip in ("10.1.0.1", "10.1.1.1", "10.1.2.1", "10.2.0.1")]
    assert found == [True, False, False, False]
    assert wanted.traffic_policy == ""


def test_the_host_header_comes_as_an_added_request_header() -> None:
    assert request(RequestHeaders={"add": ["host: shop.internal"]}).host_header == "shop.internal"


@pytest.mark.parametrize(
    ("url", "bindings", "code"),
    [
        ("https://a.internal", [], None),
        ("https://a.internal", ["internal"], None),
        ("https://a.example", ["public"], None),
        ("https://a.example", ["internal"], 20_005),
        ("https://a.internal", ["public"], 20_005),
        ("https://a.example", ["kubernetes"], 20_006),
    ],
)
def test_the_name_says_who_may_come(url: str, bindings: list[str], code: int | None) -> None:
    if code is None:
        assert request(extra={"Bindings": bindings}, URL=url).host == url.removeprefix("https://")
        return
    with pytest.raises(PorticoError) as caught:
        request(extra={"Bindings": bindings}, URL=url)
    assert caught.value.code.number == code


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ({"Proto": "udp"}, 20_005),
        ({"Proto": "https", "ForwardsProto": "http3"}, 20_005),
        ({"Proto": "https", "Opts": {"ProxyProto": 3}}, 20_005),
        ({"Proto": "tcp", "Opts": {"Addr": "host:99999"}}, 20_005),
        ({"Proto": "https", "Opts": {"TrafficPolicy": "{"}}, 20_005),
        ({"Proto": "tls", "Opts": {"TLSTermination": {"cert": "not base64!", "key": ""}}}, 20_005),
    ],
)
def test_bad_values_are_refused(message: dict[str, object], number: int) -> None:
    with pytest.raises(PorticoError) as caught:
        bind_request(Bind.from_json(message))
    assert caught.value.code.number == number


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 70_000) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OPTION_NAMES = st.sampled_from(
    ["URL", "Domain", "Hostname", "Addr", "ProxyProto", "TLSTermination", "MutualTLSCA", "RequestHeaders", "Policy"]
)


@given(st.sampled_from(["http", "https", "tls", "tcp", "?"]), st.dictionaries(OPTION_NAMES, JSON, max_size=4), JSON)
def test_no_bind_raises_anything_else(proto: str, opts: dict[str, object], extra: object) -> None:
    message: dict[str, object] = {"Proto": proto, "Opts": opts, "Extra": extra}
    with contextlib.suppress(PorticoError, ProtocolError):
        bind_request(Bind.from_json(message))


def test_the_echo_has_the_assigned_name_under_the_agent_s_own_keys() -> None:
    url = EndpointUrl(Scheme.HTTPS, "fair-pine.edge.test", 443)
    opts: dict[str, object] = {"Hostname": "", "ProxyProto": 0, "Compression": None}
    assert echoed_options(opts, url) == {"Hostname": "fair-pine.edge.test", "ProxyProto": 0, "Compression": None}
    assert echoed_options({"URL": ""}, url) == {"URL": "https://fair-pine.edge.test"}
    tcp = EndpointUrl(Scheme.TCP, "edge.test", 20_001)
    assert echoed_options({"Addr": ""}, tcp) == {"Addr": "edge.test:20001"}


def test_labels() -> None:
    wanted = labelled_request(StartTunnelWithLabel.from_json({"Labels": {"edge": "shop"}, "ForwardsProto": "http2"}))
    assert (wanted.scheme, wanted.labels, wanted.upstream_http, wanted.pooling) == (None, {"edge": "shop"}, 2, True)


DENY = "on_http_request: [{actions: [{type: deny}]}]"


def test_another_policy_of_a_live_bind() -> None:
    bound = request(Hostname="a.example", TrafficPolicy=DENY, Compression={})
    changed = with_policy(bound, "on_http_request: [{actions: [{type: log, config: {metadata: {a: b}}}]}]")
    assert replace(changed, traffic_policy=bound.traffic_policy) == bound
    assert ("deny" in bound.traffic_policy, "deny" in changed.traffic_policy) == (True, False)
    assert json.loads(with_policy(bound, "").traffic_policy).keys() == {"on_http_response"}
    assert with_policy(with_policy(bound, ""), DENY) == bound


def test_options_hold_under_another_policy() -> None:
    credentials = [{"username": "u", "cleartext_password": "lovelace1815"}]
    bound = request(basicAuth={"credentials": credentials}, IPRestriction={"deny_cidrs": ["192.0.2.0/24"]})
    changed = with_policy(bound, DENY)
    actions = [rule["actions"][0]["type"] for rule in json.loads(changed.traffic_policy)["on_http_request"]]
    assert actions == ["basic-auth", "deny"]
    assert changed.networks == Networks(denied=("192.0.2.0/24",))
    assert with_policy(changed, "") == bound
    assert "cleartext_password" not in repr(bound)


def test_tls_follows_another_policy() -> None:
    ends = "on_tcp_connect: [{actions: [{type: terminate-tls, config: {min_version: '1.3'}}]}]"
    passed = request("tls")
    assert passed.tls is None
    ended = with_policy(passed, ends)
    assert ended.tls == EdgeTls(minimum=TlsVersion.TLS_1_3)
    assert with_policy(ended, "") == passed


def test_policies_that_no_live_bind_takes() -> None:
    with refused(20_005, "did you mean deny"):
        with_policy(request(), DENY.replace("deny", "deni"))
    with refused(20_006, "no requests of HTTP"):
        with_policy(request("tcp"), DENY)
    with refused(20_005, "labelled"):
        with_policy(labelled_request(StartTunnelWithLabel.from_json({"Labels": {"edge": "shop"}})), DENY)


def test_a_weight_in_a_pool() -> None:
    assert request(extra={"PoolWeight": 7}).weight == 7
    assert request().weight == 1
    for wrong in (0, -1, 1_001):
        with refused(20_005, "weight"):
            request(extra={"PoolWeight": wrong})


def test_the_websocket_converter_is_for_http_and_bytes() -> None:
    asked = request(WebsocketTCPConverter={})
    assert (asked.websocket_bytes, asked.tells_visitor, asked.proxy_protocol) == (True, True, 0)
    assert not request().tells_visitor
    assert with_policy(asked, '{"on_http_request": []}').websocket_bytes
    with refused(20_005, "http and https"):
        request("tcp", WebsocketTCPConverter={})
    with refused(20_005, "no HTTP/2"):
        bind_request(
            Bind.from_json({"Proto": "https", "Opts": {"WebsocketTCPConverter": {}}, "ForwardsProto": "http2"})
        )
