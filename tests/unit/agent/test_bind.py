import base64

from portico.agent.bind import BindKind, BindRequest, HttpOptions, SignIn
from portico.model.endpoint import KeyPair


def test_plain_https_has_every_key_and_all_is_off() -> None:
    opts = BindRequest(kind=BindKind.HTTPS).opts()
    off = {
        "Compression", "CircuitBreaker", "IPRestriction", "BasicAuth", "OAuth", "OIDC", "WebhookVerification",
        "MutualTLSCA", "RequestHeaders", "ResponseHeaders", "WebsocketTCPConverter", "UserAgentFilter", "TrafficPolicy",
    }  # fmt: skip
    assert {key for key, value in opts.items() if value is None} == off
    assert {"Domain", "Hostname", "Subdomain", "Auth", "HostHeaderRewrite", "ProxyProto", "URL"} <= set(opts)


def test_http_options_as_ngrok_sends_them() -> None:
    http = HttpOptions(
        basic_auth=(("user", "password1"),),
        circuit_breaker=0.5,
        compression=True,
        oauth=SignIn(provider="google", allow_domains=("example.com",)),
        oidc=SignIn(issuer_url="https://id", client_id="id", client_secret="s"),
        webhook_provider="github",
        webhook_secret="s",
        request_header_add=(("X-Req", " yup"),),
        request_header_remove=("X-Bad",),
        allow_user_agents=("curl.*",),
        websocket_tcp_converter=True,
    )
    opts = BindRequest(kind=BindKind.HTTPS, http=http, allow_cidrs=("10.0.0.0/8",), visitor_authorities="PEM").opts()
    assert opts["BasicAuth"] == {"credentials": [{"username": "user", "cleartext_password": "password1"}]}
    assert opts["CircuitBreaker"] == {"error_threshold": 0.5}
    assert opts["Compression"] == {}
    assert opts["OAuth"] == {"provider": "google", "allow_domains": ["example.com"]}
    assert opts["OIDC"] == {"issuer_url": "https://id", "client_id": "id", "client_secret": "s"}
    assert opts["WebhookVerification"] == {"provider": "github", "secret": "s"}
    assert opts["RequestHeaders"] == {"add": ["x-req: yup"], "remove": ["x-bad"]}
    assert opts["ResponseHeaders"] is None
    assert opts["UserAgentFilter"] == {"allow": ["curl.*"]}
    assert opts["WebsocketTCPConverter"] == {}
    assert opts["IPRestriction"] == {"allow_cidrs": ["10.0.0.0/8"]}
    assert opts["MutualTLSCA"] == {"mutual_tls_ca": base64.b64encode(b"PEM").decode()}


def test_where_tls_ends() -> None:
    through = BindRequest(kind=BindKind.TLS).opts()
    automatic = BindRequest(kind=BindKind.TLS, edge_tls=True).opts()
    own = BindRequest(kind=BindKind.TLS, edge_tls=True, key_pair=KeyPair("C", "K")).opts()
    assert through["TLSTermination"] is None
    assert automatic["TLSTermination"] == {}
    assert own["TLSTermination"] == {"cert": "Qw==", "key": "Sw=="}


def test_a_rebind_carries_id_token_and_the_echoed_opts() -> None:
    request = BindRequest(kind=BindKind.TCP)
    first = request.wire()
    again = request.wire("id-1", "token-1", {"Addr": "x:1"})
    assert (first["Id"], first["Extra"]["Token"], first["Opts"]["Addr"]) == ("", "", "")
    assert (again["Id"], again["Extra"]["Token"], again["Opts"]) == ("id-1", "token-1", {"Addr": "x:1"})


def test_labels() -> None:
    message = BindRequest(kind=BindKind.LABELED, labels={"edge": "e1"}, metadata="m").wire()
    assert (message["Labels"], message["Metadata"]) == ({"edge": "e1"}, "m")


def test_secrets_are_in_no_repr() -> None:
    http = HttpOptions(
        basic_auth=(("user", "hunter2"),), oidc=SignIn(client_secret="hunter2"), webhook_secret="hunter2"
    )
    request = BindRequest(kind=BindKind.TLS, http=http, key_pair=KeyPair("cert", "hunter2"))
    assert "hunter2" not in repr(request)


def test_a_weight_is_said_only_where_it_says_something() -> None:
    extra = BindRequest(kind=BindKind.HTTPS, pool_weight=5).wire()["Extra"]
    assert isinstance(extra, dict)
    assert extra["PoolWeight"] == 5
    usual = BindRequest(kind=BindKind.HTTPS).wire()["Extra"]
    assert isinstance(usual, dict)
    assert "PoolWeight" not in usual
