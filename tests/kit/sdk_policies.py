"""What the SDKs' options about visitors do at the edge, and what a traffic policy does that an SDK brings."""

import hashlib
import hmac
import json
import socket
from urllib.parse import urlsplit

import pytest

from kit.curl import Answer, curl
from kit.edge import RunningEdge
from kit.sdk_fixtures import Upstreams
from kit.sdk_program import Sdk, SdkError, SdkProgram
from kit.visitor import Visitor
from kit.websocket_bytes import PARTING_SECONDS, ask, read_all, websocket

DENY = '{"on_http_request": [{"actions": [{"type": "deny", "config": {"status_code": 451}}]}]}'
TAGGED = (
    "on_http_response:\n  - actions:\n      - type: add-headers\n        config:\n          headers: {x-by: policy}\n"
)
ELSEWHERE = "192.0.2.0/24"
HERE = "127.0.0.0/8"


def _to(port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}"


def _fields(answer: Answer) -> dict[str, str]:
    """Header fields of an answer that curl was told to show (`-i`)."""
    head = answer.body.partition("\n\n")[0]
    lines = (line.partition(":") for line in head.splitlines()[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _reached(url: str) -> bool:
    """Whether a service that speaks HTTP answers behind a tcp endpoint."""
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=60) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            return visitor.recv(100).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


class ModuleChecks:
    """The older options of the builders."""

    def test_a_password(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        calls = [["basic_auth", "ada", "lovelace1815"], ["basic_auth", "eve", "pass${word}:x"]]
        url = agent.forward(_to(upstreams.web), calls=calls).url + "/headers"
        assert curl(url, sdk_edge.ca).status == 401
        assert curl(url, sdk_edge.ca, "-u", "ada:lovelace1816").status == 401
        assert curl(url, sdk_edge.ca, "-u", "ada:lovelace1815").status == 200
        assert curl(url, sdk_edge.ca, "-u", "eve:pass${word}:x").status == 200
        with pytest.raises(SdkError, match=r"credentials\[0\]") as refused:
            agent.forward(_to(upstreams.web), calls=[["basic_auth", "ada", "short"]])
        assert "short" not in str(refused.value)

    def test_headers_both_ways(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        calls = [["request_header", "x-added", "in:${here}"], ["remove_request_header", "x-gone"]]
        calls += [["response_header", "x-told", "out"], ["remove_response_header", "content-type"]]
        url = agent.forward(_to(upstreams.web), calls=calls).url + "/headers"
        answer = curl(url, sdk_edge.ca, "--http1.1", "-i", "-H", "x-gone: 1", "-H", "x-kept: 1")
        saw = json.loads(answer.body.partition("\n\n")[2])
        assert (saw["x-added"], saw["x-kept"], "x-gone" in saw) == ("in:${here}", "1", False)
        fields = _fields(answer)
        assert (fields["x-told"], "content-type" in fields) == ("out", False)

    def test_compression(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        url = agent.forward(_to(upstreams.web), calls=[["compression"]]).url + "/headers"
        padding = ("-H", "x-padding: " + "a" * 4000)
        fields = _fields(curl(url, sdk_edge.ca, "--http1.1", "-i", "--compressed", *padding))
        assert fields["content-encoding"] in ("gzip", "br", "deflate")
        assert "content-encoding" not in _fields(curl(url, sdk_edge.ca, "--http1.1", "-i", *padding))

    def test_websockets_of_bytes(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("modules")
        calls = [["websocket_tcp_conversion"]]
        url = agent.forward(_to(upstreams.web), calls=calls).url
        answer = curl(url, sdk_edge.ca, "--http1.1", "-i")
        assert (answer.status, _fields(answer)["ngrok-error-code"]) == (400, "ERR_NGROK_3206")
        request = b"GET /headers HTTP/1.1\r\nhost: bytes\r\nconnection: close\r\n\r\n"
        assert ask(url, sdk_edge.ca, request).startswith(b"HTTP/1.1 200 ")
        closed = agent.forward(_to(upstreams.closed), calls=calls).url
        with websocket(closed, sdk_edge.ca, close_timeout=PARTING_SECONDS) as connection:
            assert read_all(connection) == b""
            assert (connection.close_code, (connection.close_reason or "")[:12]) == (1011, "PORTICO_8012")

    def test_user_agents(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        calls = [["allow_user_agent", "^good/"], ["deny_user_agent", "^bad/"]]
        url = agent.forward(_to(upstreams.nginx.plain), calls=calls).url
        found = [curl(url, sdk_edge.ca, "-A", name).status for name in ("good/1", "bad/1", "other/1")]
        assert found == [200, 403, 200]

    def test_webhooks(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        calls = [["webhook_verification", "github", "the-secret"]]
        url = agent.forward(_to(upstreams.web), calls=calls).url + "/upload"
        body = '{"zen": "Design for failure."}'
        signature = hmac.new(b"the-secret", body.encode(), hashlib.sha256).hexdigest()
        signed = ("-H", f"x-hub-signature-256: sha256={signature}")
        answer = curl(url, sdk_edge.ca, "--data", body, *signed)
        assert (answer.status, answer.body) == (200, hashlib.sha256(body.encode()).hexdigest())
        # In HTTP/2 curl 7.88 takes an answer that comes before it has sent its body for a broken stream.
        wrong = (("--data", body + " ", *signed), ("--data", body))
        refused = [curl(url, sdk_edge.ca, "--http1.1", *flags) for flags in wrong]
        assert [answer.status for answer in refused] == [403, 403], refused

    def test_a_breaker(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        url = agent.forward(_to(upstreams.closed), calls=[["circuit_breaker", 0.5]]).url
        visitor = Visitor(sdk_edge.ca).connection(url)

        def status() -> int:
            # On one connection, so by one of Envoy's workers, as each counts ten failures of the last seconds itself.
            visitor.request("GET", "/")
            answer = visitor.getresponse()
            answer.read()
            return answer.status

        assert status() == 502
        assert any(status() == 503 for _ in range(60))
        visitor.close()

    def test_people_sign_in(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        application = ["the-application", "the-secret"]
        calls = [["oauth", "google", ["ada@example.com"], ["example.org"], ["email", "profile"], *application]]
        url = agent.forward(_to(upstreams.web), calls=calls).url
        assert curl(url, sdk_edge.ca).status == 401
        led = curl(url, sdk_edge.ca, "--http1.1", "-i", "-H", "accept: text/html")
        assert led.status == 302
        place = _fields(led)["location"]
        assert place.startswith("https://accounts.google.com/")
        assert "client_id=the-application" in place
        assert "the-secret" not in led.body

    def test_a_provider_that_does_not_answer_opens_no_door(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("modules")
        issuer = f"http://127.0.0.1:{upstreams.closed}"
        calls = [["oidc", issuer, "the-application", "the-secret", ["ada@example.com"], [], ["email"]]]
        url = agent.forward(_to(upstreams.web), calls=calls).url
        answer = curl(url, sdk_edge.ca, "-H", "accept: text/html")
        assert answer.status >= 400
        assert "the-secret" not in answer.body

    def test_visitors_addresses(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        to = _to(upstreams.nginx.plain)
        found = {
            listed: curl(agent.forward(to, calls=[["allow_cidr", listed]]).url, sdk_edge.ca).status
            for listed in (HERE, ELSEWHERE)
        }
        assert found == {HERE: 200, ELSEWHERE: 403}
        assert curl(agent.forward(to, calls=[["deny_cidr", HERE]]).url, sdk_edge.ca).status == 403

    def test_visitors_addresses_of_tcp(self, sdk: Sdk, agent: SdkProgram, upstreams: Upstreams) -> None:
        sdk.needs("modules")
        to = _to(upstreams.nginx.plain, "tcp")
        for call, reached in (
            (["allow_cidr", HERE], True),
            (["allow_cidr", ELSEWHERE], False),
            (["deny_cidr", HERE], False),
            (["deny_cidr", ELSEWHERE], True),
        ):
            listener = agent.forward(to, proto="tcp", calls=[call])
            assert (call, _reached(listener.url)) == (call, reached)
            listener.close()

    def test_visitors_addresses_of_tls(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("modules", "edge-tls")
        for listed, status in ((HERE, 200), (ELSEWHERE, 0)):
            calls = [["allow_cidr", listed]]
            listener = agent.forward(_to(upstreams.nginx.plain, "tcp"), proto="tls", automatic=True, calls=calls)
            assert curl(listener.url, sdk_edge.ca, "--http1.1").status == status
            listener.close()


class PolicyChecks(ModuleChecks):
    """Those, and traffic policies."""

    @pytest.mark.parametrize("text", [TAGGED, '{"on_http_response": [{"actions": [{"type": "add-headers", "config": '
                                      '{"headers": {"x-by": "policy"}}}]}]}'])  # fmt: skip
    def test_a_policy(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams, text: str) -> None:
        url = agent.forward(_to(upstreams.nginx.plain), traffic_policy=text).url
        answer = curl(url, sdk_edge.ca, "--http1.1", "-i")
        assert (answer.status, _fields(answer)["x-by"]) == (200, "policy")
        assert curl(agent.forward(_to(upstreams.nginx.plain), traffic_policy=DENY).url, sdk_edge.ca).status == 451

    def test_a_policy_behind_an_option(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("modules")
        calls = [["basic_auth", "ada", "lovelace1815"]]
        url = agent.forward(_to(upstreams.nginx.plain), calls=calls, traffic_policy=DENY).url
        found = [curl(url, sdk_edge.ca, *flags).status for flags in ((), ("-u", "ada:lovelace1815"))]
        assert found == [401, 451]

    @pytest.mark.parametrize("listed", [HERE, ELSEWHERE])
    def test_a_policy_of_a_tcp_endpoint(self, agent: SdkProgram, upstreams: Upstreams, listed: str) -> None:
        rule = {"actions": [{"type": "restrict-ips", "config": {"allow": [listed]}}]}
        policy = json.dumps({"on_tcp_connect": [rule]})
        listener = agent.forward(_to(upstreams.nginx.plain, "tcp"), proto="tcp", traffic_policy=policy)
        assert _reached(listener.url) == (listed == HERE)
        listener.close()

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("on_http_request: [", "neither JSON nor YAML"),
            ('{"on_http_request": [{"actions": [{"type": "deni"}]}]}', "deny"),
            ('{"on_http_request": [{"expressions": ["req.url.pth"], "actions": [{"type": "deny"}]}]}', "req.url.pth"),
            ('{"on_http_request": [{"actions": [{"type": "rate-limit", "config": {}}]}]}', "name: is missing"),
        ],
    )
    def test_a_wrong_policy_is_refused(self, agent: SdkProgram, upstreams: Upstreams, text: str, told: str) -> None:
        with pytest.raises(SdkError, match=told):
            agent.forward(_to(upstreams.nginx.plain), traffic_policy=text)
