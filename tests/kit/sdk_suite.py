"""What every official SDK must do through an edge; a test module adds the fixture `sdk` and subclasses `SdkSuite`."""

import hashlib
import os
import re
import signal
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect as connect_websocket

from kit.curl import Answer, curl
from kit.edge import RunningEdge
from kit.key_pairs import KeyPairs
from kit.polling import eventually
from kit.sdk_fixtures import LABELLED, OTHER_OWNER_TOKEN, RESERVED, Upstreams
from kit.sdk_policies import DENY, PolicyChecks
from kit.sdk_program import Sdk, SdkError, SdkProgram
from kit.visitor import Visitor
from kit.web_service import BLOCK, bulk_digest
from kit.websocket_bytes import PARTING_SECONDS

BULK_MEGABYTES = 64
UNKNOWN = '{"on_http_request": [{"actions": [{"type": "refuse"}]}]}'


def at(port: int, scheme: str = "http") -> str:
    """The URL of a local upstream."""
    return f"{scheme}://127.0.0.1:{port}"


def assert_saw(answer: Answer, **facts: str) -> None:
    """nginx answered, and saw these facts."""
    assert (answer.exit, answer.status) == (0, 200), answer
    saw = dict(re.findall(r"(\w+)=(\S*)", answer.body))
    assert {name: saw[name] for name in facts} == facts


class HttpChecks:
    """http and https endpoints."""

    proxied = "http"
    """Scheme of an upstream that is to get a PROXY header."""

    def test_random_name(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.plain))
        parts = urlsplit(listener.url)
        assert (parts.scheme, parts.port) == ("https", sdk_edge.https_port)
        assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1", host=parts.netloc)

    def test_given_domains_of_one_session(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        names = ["given-one.localhost", "given-two.localhost", "elsewhere.example.org"]
        listeners = [agent.forward(at(upstreams.nginx.plain), domain=name) for name in names]
        assert [urlsplit(listener.url).hostname for listener in listeners] == names
        for listener in listeners:
            assert_saw(curl(listener.url, sdk_edge.ca), host=urlsplit(listener.url).netloc)

    def test_visitors_speak_http2(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.plain))
        answer = curl(listener.url, sdk_edge.ca, "--http2")
        assert answer.version == "2"
        assert_saw(answer, proto="HTTP/1.1")

    def test_plain_http(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.plain), scheme="HTTP", domain="plain.localhost")
        assert urlsplit(listener.url).scheme == "http"
        assert_saw(curl(listener.url, sdk_edge.ca), host=f"plain.localhost:{sdk_edge.http_port}")

    def test_upstream_with_tls(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.tls, "https"), verify_upstream_tls=False)
        assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")

    @pytest.mark.parametrize("version", ["1", "2"])
    def test_proxy_protocol(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams, version: str) -> None:
        listener = agent.forward(at(upstreams.nginx.proxied, self.proxied), proxy_proto=version)
        assert_saw(curl(listener.url, sdk_edge.ca), proxy="127.0.0.1")

    def test_http2_upstream_without_tls(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("h2c")
        listener = agent.forward(at(upstreams.nginx.h2c), app_protocol="http2")
        for flag in ("--http1.1", "--http2"):
            assert_saw(curl(listener.url, sdk_edge.ca, flag), proto="HTTP/2.0")

    def test_http2_upstream_with_tls(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.tls, "https"), app_protocol="http2", verify_upstream_tls=False)
        for flag in ("--http1.1", "--http2"):
            assert_saw(curl(listener.url, sdk_edge.ca, flag), proto="HTTP/2.0")

    def test_host_header(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("host-header")
        listener = agent.forward(at(upstreams.nginx.plain), host_header="inside.example.com")
        assert_saw(curl(listener.url, sdk_edge.ca), host="inside.example.com")

    def test_labelled(self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("labelled")
        agent.forward(at(upstreams.nginx.plain), proto="labeled", labels={"edge": "edghts_1"})
        url = f"https://{LABELLED}:{sdk_edge.https_port}"
        assert_saw(curl(url, sdk_edge.ca), host=urlsplit(url).netloc)

    def test_websocket(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.web))
        parts = urlsplit(listener.url)
        raw = socket.create_connection(("127.0.0.1", sdk_edge.https_port))
        trust = ssl.create_default_context(cafile=str(sdk_edge.ca))
        address = parts._replace(scheme="wss", path="/echo").geturl()
        with connect_websocket(
            address, sock=raw, ssl=trust, server_hostname=parts.hostname, proxy=None, close_timeout=PARTING_SECONDS
        ) as talk:
            for word in ("one", "two" * 50_000):
                talk.send(word)
                assert talk.recv(30) == "echo:" + word

    def test_server_sent_events_are_not_held_back(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        url = agent.forward(at(upstreams.web)).url
        visitor = Visitor(sdk_edge.ca)
        connection = visitor.connection(url)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        for number in range(3):
            assert answer.readline() == f"data: {number}\n".encode()
            assert answer.readline() == b"\n"
            assert visitor.get(url + "/next")[0] == 200
        assert answer.read() == b""
        connection.close()

    def test_bulk_keeps_its_digest(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams, tmp_path: Path
    ) -> None:
        url, sent, got = agent.forward(at(upstreams.web)).url, tmp_path / "sent", tmp_path / "got"
        sent.write_bytes(BLOCK * BULK_MEGABYTES)
        up = curl(f"{url}/upload", sdk_edge.ca, "--data-binary", f"@{sent}", "-H", "expect:")
        assert (up.status, up.body) == (200, bulk_digest(BULK_MEGABYTES))
        down = curl(f"{url}/download?{BULK_MEGABYTES}", sdk_edge.ca, "-o", str(got))
        assert (down.exit, down.status) == (0, 200)
        assert hashlib.sha256(got.read_bytes()).hexdigest() == bulk_digest(BULK_MEGABYTES)

    def test_many_requests_of_one_connection(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        connection = Visitor(sdk_edge.ca).connection(agent.forward(at(upstreams.nginx.plain)).url)
        for _ in range(200):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:6]) == (200, b"proto=")
        connection.close()

    def test_upstream_that_is_down(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        assert curl(agent.forward(at(upstreams.closed)).url, sdk_edge.ca).status == 502

    def test_closed_listener_is_offline(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        listener = agent.forward(at(upstreams.nginx.plain), domain="closing.localhost")
        assert curl(listener.url, sdk_edge.ca).status == 200
        listener.close()
        eventually(lambda: curl(listener.url, sdk_edge.ca).status == 404)
        assert curl(listener.url, sdk_edge.ca).error_code == "ERR_NGROK_3200"
        again = agent.forward(at(upstreams.nginx.plain), domain="closing.localhost")
        assert curl(again.url, sdk_edge.ca).status == 200


class TlsChecks:
    """tls endpoints."""

    pass_through = "tls"
    """Scheme of an upstream that ends the visitors' TLS itself."""

    def test_pass_through_keeps_alpn_and_certificate(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        name = "upstream.localhost"
        listener = agent.forward(at(upstreams.nginx.tls, self.pass_through), proto="tls", domain=name)
        assert listener.url == f"tls://{name}:{sdk_edge.https_port}"
        answer = curl(listener.url, upstreams.authority.ca)
        assert answer.version == "2"
        assert_saw(answer, proto="HTTP/2.0", sni=name)
        listener.close()

    @pytest.mark.parametrize("version", ["1", "2"])
    def test_pass_through_with_proxy_protocol(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams, version: str
    ) -> None:
        upstream, name = at(upstreams.nginx.proxied_tls, self.pass_through), "upstream.localhost"
        listener = agent.forward(upstream, proto="tls", domain=name, proxy_proto=version)
        assert_saw(curl(listener.url, upstreams.authority.ca), proxy="127.0.0.1", sni=name)
        listener.close()

    def test_own_certificate(self, sdk: Sdk, agent: SdkProgram, upstreams: Upstreams, pairs: KeyPairs) -> None:
        certificate, key = pairs.issue("own.localhost")
        listener = agent.forward(
            at(upstreams.nginx.plain, "tcp"),
            proto="tls",
            domain="own.localhost",
            crt=certificate.read_text(),
            key=key.read_text(),
        )
        assert_saw(curl(listener.url, pairs.ca, "--http1.1"), proto="HTTP/1.1")

    def test_automatic_certificate(
        self, sdk: Sdk, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        sdk.needs("edge-tls")
        listener = agent.forward(at(upstreams.nginx.plain, "tcp"), proto="tls", automatic=True)
        assert_saw(curl(listener.url, sdk_edge.ca, "--http1.1"), proto="HTTP/1.1")

    @pytest.mark.parametrize("options", [{"proto": "tls", "automatic": True}, {"proto": "http"}])
    def test_visitors_need_a_certificate(
        self,
        sdk: Sdk,
        agent: SdkProgram,
        sdk_edge: RunningEdge,
        upstreams: Upstreams,
        pairs: KeyPairs,
        tmp_path: Path,
        options: dict[str, object],
    ) -> None:
        sdk.needs("edge-tls")
        scheme = "tcp" if options["proto"] == "tls" else "http"
        upstream, cas = at(upstreams.nginx.plain, scheme), pairs.ca.read_text()
        url = agent.forward(upstream, mutual_tls_cas=cas, **options).url
        good, stranger = pairs.issue("visitor"), KeyPairs(tmp_path, "strangers").issue("stranger")
        assert_saw(curl(url, sdk_edge.ca, "--http1.1", *_shown(good)), proto="HTTP/1.1")
        for flags in ((), _shown(stranger)):
            refused = curl(url, sdk_edge.ca, "--http1.1", *flags)
            assert refused.exit != 0
            assert refused.status == 0


def _shown(pair: tuple[Path, Path]) -> tuple[str, ...]:
    return ("--cert", str(pair[0]), "--key", str(pair[1]))


class TcpChecks:
    """tcp endpoints."""

    def test_random_and_fixed_port(self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        upstream = at(upstreams.nginx.plain, "tcp")
        listener = agent.forward(upstream, proto="tcp")
        assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")
        address = urlsplit(listener.url).netloc
        listener.close()
        again = agent.forward(upstream, proto="tcp", address=address)
        assert again.url == listener.url
        assert_saw(curl(again.url, sdk_edge.ca), proto="HTTP/1.1")

    @pytest.mark.parametrize("version", ["1", "2"])
    def test_tcp_with_proxy_protocol(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams, version: str
    ) -> None:
        listener = agent.forward(at(upstreams.nginx.proxied, "tcp"), proto="tcp", proxy_proto=version)
        assert_saw(curl(listener.url, sdk_edge.ca), proxy="127.0.0.1")

    def test_half_close(self, sdk: Sdk, agent: SdkProgram, upstreams: Upstreams) -> None:
        sdk.needs("half-close")
        listener = agent.forward(at(upstreams.digest, "tcp"), proto="tcp")
        with socket.create_connection(("127.0.0.1", urlsplit(listener.url).port), timeout=60) as visitor:
            for _ in range(4):
                visitor.sendall(BLOCK)
            visitor.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: visitor.recv(100), b""))
        assert answer.decode() == bulk_digest(4)


class ErrorChecks:
    """Refusals, and the codes that the SDK tells."""

    def test_unknown_token(self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        assert _refusal(sdk, sdk_edge, upstreams, "an-unknown-authtoken").code == "ERR_NGROK_107"

    def test_malformed_token(self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        assert _refusal(sdk, sdk_edge, upstreams, "x" * 600).code == "ERR_NGROK_105"

    def test_name_already_online(self, agent: SdkProgram, upstreams: Upstreams) -> None:
        agent.forward(at(upstreams.nginx.plain), domain="taken.localhost")
        with pytest.raises(SdkError, match="already online") as caught:
            agent.forward(at(upstreams.nginx.plain), domain="taken.localhost")
        assert caught.value.code == "ERR_NGROK_334"

    def test_reserved_names(self, sdk: Sdk, sdk_edge: RunningEdge, agent: SdkProgram, upstreams: Upstreams) -> None:
        for name in (RESERVED, "api.localhost"):
            with pytest.raises(SdkError) as caught:
                agent.forward(at(upstreams.nginx.plain), domain=name)
            assert caught.value.code == "ERR_NGROK_320"
        with sdk.agent(sdk_edge, OTHER_OWNER_TOKEN) as owner:
            assert_saw(curl(owner.forward(at(upstreams.nginx.plain), domain=RESERVED).url, sdk_edge.ca), sni="")

    def test_port_out_of_range(self, agent: SdkProgram, upstreams: Upstreams) -> None:
        with pytest.raises(SdkError, match="outside of this edge's range"):
            agent.forward(at(upstreams.nginx.plain, "tcp"), proto="tcp", address="localhost:9")

    def test_a_session_goes_on_after_refusals(
        self, agent: SdkProgram, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        with pytest.raises(SdkError, match=r"on_http_request\[0\].*is no action"):
            agent.forward(at(upstreams.nginx.plain), traffic_policy=UNKNOWN)
        assert_saw(curl(agent.forward(at(upstreams.nginx.plain)).url, sdk_edge.ca), proto="HTTP/1.1")


def _refusal(sdk: Sdk, edge: RunningEdge, upstreams: Upstreams, authtoken: str) -> SdkError:
    with sdk.agent(edge, authtoken) as program, pytest.raises(SdkError) as caught:
        program.forward(at(upstreams.nginx.plain))
    return caught.value


class PoolChecks:
    """One URL over two agents."""

    def test_two_agents_share_a_url(self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        sdk.needs("pooling")
        with sdk.agent(sdk_edge) as one, sdk.agent(sdk_edge) as two:
            options = {"domain": "pool.localhost", "pooling": True}
            url = one.forward(at(upstreams.nginx.plain), **options).url
            assert two.forward(at(upstreams.web), **options).url == url
            seen: set[int] = set()

            def both() -> bool:
                seen.add(curl(url, sdk_edge.ca).status)
                return seen == {200, 404}

            eventually(both)
        eventually(lambda: curl(url, sdk_edge.ca).error_code == "ERR_NGROK_3200")


class ReturnChecks:
    """What becomes of the SDK's endpoints when parts of the edge die."""

    def test_agents_return_after_a_relay_was_killed(
        self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams, pairs: KeyPairs
    ) -> None:
        certificate, key = (path.read_text() for path in pairs.issue("returning-tls.localhost"))
        raw = at(upstreams.nginx.plain, "tcp")
        with sdk.agent(sdk_edge) as program:
            own = program.forward(raw, proto="tls", domain="returning-tls.localhost", crt=certificate, key=key)
            trusted = {
                program.forward(at(upstreams.nginx.plain)).url: sdk_edge.ca,
                program.forward(at(upstreams.nginx.plain), domain="returning.localhost").url: sdk_edge.ca,
                program.forward(raw, proto="tcp").url: sdk_edge.ca,
                own.url: pairs.ca,
            }
            guarded = program.forward(at(upstreams.nginx.plain), traffic_policy=DENY).url
            assert curl(guarded, sdk_edge.ca).status == 451
            for url, ca in trusted.items():
                assert_saw(curl(url, ca, "--http1.1"), proto="HTTP/1.1")
            _kill(sdk_edge, "r0")
            for url, ca in trusted.items():
                eventually(lambda url=url, ca=ca: curl(url, ca, "--http1.1").status == 200)  # type: ignore[misc]
            eventually(lambda: curl(guarded, sdk_edge.ca).status == 451)
            assert_saw(curl(program.forward(at(upstreams.nginx.plain)).url, sdk_edge.ca), proto="HTTP/1.1")

    def test_a_program_that_was_killed_gets_its_name_again(
        self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams
    ) -> None:
        for _ in range(2):
            with sdk.agent(sdk_edge) as program:
                url = program.forward(at(upstreams.nginx.plain), domain="again.localhost").url
                assert_saw(curl(url, sdk_edge.ca), proto="HTTP/1.1")
            eventually(lambda url=url: curl(url, sdk_edge.ca).error_code == "ERR_NGROK_3200")  # type: ignore[misc]

    def test_nothing_is_lost_with_control(self, sdk: Sdk, sdk_edge: RunningEdge, upstreams: Upstreams) -> None:
        with sdk.agent(sdk_edge) as program:
            listener = program.forward(at(upstreams.nginx.plain))
            assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")
            _kill(sdk_edge, "control")
            assert_saw(curl(listener.url, sdk_edge.ca), proto="HTTP/1.1")
            assert_saw(curl(program.forward(at(upstreams.nginx.plain)).url, sdk_edge.ca), proto="HTTP/1.1")
            listener.close()
            eventually(lambda: curl(listener.url, sdk_edge.ca).status == 404)


def _kill(edge: RunningEdge, child: str) -> None:
    """Kill a child of the edge, and wait until another is in its place."""
    old = edge.child(child)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: edge.child(child) != old)


class SdkSuite(HttpChecks, TlsChecks, TcpChecks, PolicyChecks, ErrorChecks, PoolChecks, ReturnChecks):
    """Everything."""
