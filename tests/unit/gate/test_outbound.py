"""Where requests may go, how they are bounded, and what http-request makes of them."""

import asyncio
import gzip
import json
import ssl
import zlib
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from kit.gate import asked_gate
from kit.identity_provider import on_a_port
from portico.certificates.authority import Authority
from portico.gate.outbound import MOST_BYTES, Outbound, OutboundError
from portico.gate.reach import Reach


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1"),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1"),
    ],
)
def test_what_is_not_public_is_not_asked(address: str) -> None:
    assert not Reach().permits(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_what_is_public_is_asked(address: str) -> None:
    assert Reach().permits(address)


def test_a_setting_opens_networks() -> None:
    reach = Reach((ip_network("10.1.0.0/16"),))
    assert reach.permits("10.1.2.3")
    assert not reach.permits("10.2.0.1")
    assert not reach.permits("::ffff:10.2.0.1")


class Service:
    """What errands are run to."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.failures = 0
        self.released = asyncio.Event()

    def app(self) -> Starlette:
        paths = {"/echo": self.echo, "/fails": self.fails, "/large": self.large, "/bomb": self.bomb, "/gzip": self.gzip}
        paths |= {"/cookie": self.cookie, "/held": self.held}
        methods = ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]
        routes = [Route(path, answer, methods=methods) for path, answer in paths.items()]
        return Starlette(routes=[*routes, Route("/to/{count:int}", self.to), Route("/out", self.out)])

    async def echo(self, request: Request) -> Response:
        body = (await request.body()).decode()
        seen = {"method": request.method, "url": str(request.url), "headers": dict(request.headers), "body": body}
        self.seen.append(seen)
        return JSONResponse(seen, headers={"x-one": "1"})

    async def fails(self, request: Request) -> Response:
        self.seen.append({})
        self.failures -= 1
        return Response("later", 503) if self.failures >= 0 else Response("now")

    async def large(self, request: Request) -> Response:
        return Response(b"x" * (MOST_BYTES + 1))

    async def bomb(self, request: Request) -> Response:
        return Response(gzip.compress(b"\0" * 20_000_000), headers={"content-encoding": "gzip"})

    async def gzip(self, request: Request) -> Response:
        return Response(zlib.compress(b"small"), headers={"content-encoding": "deflate"})

    async def to(self, request: Request) -> Response:
        count = request.path_params["count"]
        return RedirectResponse(f"/to/{count - 1}" if count else "/echo")

    async def out(self, request: Request) -> Response:
        return RedirectResponse(request.query_params.get("to", "http://127.9.9.9:1/"))

    async def cookie(self, request: Request) -> Response:
        return Response("given", headers={"set-cookie": "session=of-one-owner"})

    async def held(self, request: Request) -> Response:
        self.seen.append({})
        await self.released.wait()
        return Response("at last")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def url(service: Service):
    async with on_a_port(service.app()) as address:
        yield address


@pytest.fixture
async def gate(tmp_path: Path):
    async with asked_gate(tmp_path, reach=Reach((ip_network("127.0.0.1/32"),))) as client:
        yield client


async def run(gate: Any, url: str, **more: Any) -> Any:
    answer = await gate.post("/errands", json={"url": url, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_sends_what_it_is_told(gate: Any, service: Service, url: str) -> None:
    answer = await run(
        gate,
        f"{url}/echo?a=1",
        method="POST",
        parameters=[["b", "x y&z"]],
        headers={"X-Custom": "abc", "content-type": "application/json"},
        body='{"ü": 1}',
        visitor="203.0.113.7",
    )
    assert answer["error"] == ""
    assert answer["res"]["status_code"] == 200
    assert answer["res"]["resolved_ip"] == "127.0.0.1"
    assert answer["res"]["header"]["x-one"] == ["1"]
    assert answer["attempts"][0]["response_status_code"] == 200
    seen = json.loads(answer["res"]["body"])
    assert seen["method"] == "POST"
    assert seen["url"].endswith("/echo?a=1&b=x+y%26z")
    assert seen["body"] == '{"ü": 1}'
    assert seen["headers"]["x-custom"] == "abc"
    assert seen["headers"]["x-forwarded-for"] == "203.0.113.7"
    assert seen["headers"]["user-agent"].startswith("portico/")
    assert answer["req"]["header"]["x-custom"] == ["abc"]


async def test_tries_again_while_the_condition_holds(gate: Any, service: Service, url: str) -> None:
    service.failures = 2
    answer = await run(gate, f"{url}/fails", retry="last_attempt.res.statusCode == 503 && attempts < 4")
    assert answer["res"]["body"] == "now"
    assert [one["response_status_code"] for one in answer["attempts"]] == [503, 503, 200]


async def test_tries_at_most_four_times(gate: Any, service: Service, url: str) -> None:
    service.failures = 9
    answer = await run(gate, f"{url}/fails", retry="true")
    assert len(answer["attempts"]) == len(service.seen) == 4


async def test_tries_once_where_nothing_is_said(gate: Any, service: Service, url: str) -> None:
    service.failures = 9
    assert (await run(gate, f"{url}/fails"))["res"]["status_code"] == 503
    assert len(service.seen) == 1


async def test_tries_again_after_errors(gate: Any) -> None:
    answer = await run(gate, "http://127.0.0.1:1/", retry="last_attempt.error != ''")
    assert len(answer["attempts"]) == 4
    assert answer["res"] is None
    assert answer["error"]


async def test_follows_as_many_redirects_as_it_may(gate: Any, url: str) -> None:
    assert (await run(gate, f"{url}/to/1"))["res"]["status_code"] == 307
    assert (await run(gate, f"{url}/to/1", redirects=2))["res"]["status_code"] == 200
    assert (await run(gate, f"{url}/to/3", redirects=2))["error"] == "there were too many redirects"


async def test_a_redirect_does_not_lead_where_requests_may_not_go(gate: Any, url: str) -> None:
    assert "not public" in (await run(gate, f"{url}/out", redirects=1))["error"]


async def test_a_redirect_leads_to_no_internal_endpoint(tmp_path: Path, url: str) -> None:
    """The author has named a stranger; what the stranger names is not the author's word."""
    socket, asked = tmp_path / "internal.sock", []

    async def internal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        to = b"http://other.internal/" if b" /on " in asked[-1] else url.encode() + b"/out?to=http://db.internal/secret"
        writer.write(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: " + to + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    outbound = Outbound(Reach((ip_network("127.0.0.1/32"),)), internal=str(socket))
    async with await asyncio.start_unix_server(internal, str(socket)):
        for first in (f"{url}/out?to=http://db.internal/secret", "http://db.internal/"):
            with pytest.raises(OutboundError, match="not reached from here"):
                await outbound.send("GET", first, redirects=3, inner="internal1-ann")
        assert [b"secret" in one for one in asked] == [False]
        asked.clear()
        assert (await outbound.send("GET", "http://db.internal/on", redirects=1, inner="internal1-ann")).status == 302
        assert len(asked) == 2
    await outbound.close()


async def test_a_cookie_is_nobody_elses(gate: Any, url: str) -> None:
    assert (await run(gate, f"{url}/cookie"))["res"]["header"]["set-cookie"] == ["session=of-one-owner"]
    assert "cookie" not in json.loads((await run(gate, f"{url}/echo"))["res"]["body"])["headers"]


async def test_an_answer_is_waited_for_while_many_others_are_asked(gate: Any, service: Service, url: str) -> None:
    waiting = asyncio.create_task(run(gate, f"{url}/held", seconds=30))
    while not service.seen:
        await asyncio.sleep(0.01)
    for port in range(1, 70):
        await run(gate, f"http://127.0.0.1:{port}/")
    service.released.set()
    assert (await waiting)["res"]["body"] == "at last"


def test_nothing_but_the_time_that_was_given_ends_a_request() -> None:
    request = Outbound(Reach())._request("GET", "http://example.com/", {}, b"", (), "")
    assert set(request.extensions["timeout"].values()) == {None}


async def test_a_name_is_looked_up_as_certificates_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """IDNA 2008 has `faß.example`; IDNA 2003, which Python's own lookup takes, makes `fass.example` of it."""
    names: list[str | bytes | None] = []

    async def lookup(host: str | bytes | None, *_: object, **__: object) -> list[Any]:
        names.append(host)
        raise OSError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
    outbound = Outbound(Reach())
    with pytest.raises(OutboundError):
        await outbound.send("GET", "https://faß.example/")
    assert names == ["xn--fa-hia.example"]
    await outbound.close()


@pytest.mark.parametrize("path", ["/large", "/bomb"])
async def test_large_answers_are_refused(gate: Any, url: str, path: str) -> None:
    assert "response size exceeded" in (await run(gate, f"{url}{path}"))["error"]


async def test_decodes_what_is_small(gate: Any, url: str) -> None:
    assert (await run(gate, f"{url}/gzip"))["res"]["body"] == "small"


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.9.9.9:1/", "http://[::1]:1/", "http://169.254.169.254/latest/meta-data/", "http://2130706689:1/"),
        *("http://0x7f.9.9.9/", "http://127.9.1/", "http://localhost.:1/", "http://[::ffff:127.9.9.9]/"),
        *(
            "file:///etc/passwd",
            "ftp://example.com/",
            "unix:///run/x.sock",
            "http:///x",
            "//x",
            "",
            "http://",
            "http://[",
            "http://a b/",
            "http://1.1.1.1:99999/",
        ),
    ],
)
async def test_does_not_ask_what_it_may_not(tmp_path: Path, address: str) -> None:
    async with asked_gate(tmp_path, reach=Reach()) as gate:
        answer = await run(gate, address)
        assert answer["res"] is None
        assert answer["error"]
        assert "accepts" not in answer["error"]


async def test_a_circle_of_errands_ends(gate: Any, service: Service, url: str) -> None:
    answer = await run(gate, f"{url}/echo", hops="2")
    assert json.loads(answer["res"]["body"])["headers"]["portico-http-request-hops"] == "3"
    answer = await run(gate, f"{url}/echo", hops="3", headers={"portico-http-request-hops": "0"})
    assert "circle" in answer["error"]
    assert len(service.seen) == 1


async def test_a_silent_service_does_not_hold_a_visitor(gate: Any) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await run(gate, f"http://127.0.0.1:{port}/", seconds=0.2, retry="true")
    assert answer["error"] == "no answer within 0.2 s"
    assert answer["res"] is None


async def test_verifies_certificates(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.load_or_create(tmp_path, now)
    pair, _ = authority.issue(["localhost"], now)
    (tmp_path / "chain").write_text(pair.certificate)
    (tmp_path / "key").write_text(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 Nothing\r\n\r\n")
        await writer.drain()
        writer.close()

    reach = Reach((ip_network("127.0.0.0/8"),))
    trusting, strict = Outbound(reach, tmp_path / "ca.pem"), Outbound(reach)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await trusting.send("GET", f"https://localhost:{port}/")).status == 204
        for outbound, host in ((strict, "localhost"), (trusting, "127.0.0.1")):
            with pytest.raises(OutboundError, match="its certificate is not trusted"):
                await outbound.send("GET", f"https://{host}:{port}/")
    await trusting.close()
    await strict.close()


async def test_anything_may_be_asked(gate: Any) -> None:
    for path in ("/sign-in", "/sign-in/path", "/tokens", "/errands"):
        for body in (b"", b"{}", b"[]", b"{", b'{"url": 7}', b"\xff"):
            assert (await gate.post(path, content=body)).status_code == 400
    assert (await gate.post("/errands", content=b"x" * 9_000_000)).status_code == 413
    assert (await gate.get("/errands")).status_code == 405


async def test_connections_are_ended(url: str) -> None:
    outbound = Outbound(Reach((ip_network("127.0.0.1/32"),)))
    assert (await outbound.send("GET", f"{url}/echo")).status == 200
    await outbound.close()
    with pytest.raises((OutboundError, RuntimeError)):
        await outbound.send("GET", f"{url}/echo")
