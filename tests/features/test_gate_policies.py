"""Sign-ins, tokens and requests of policies, in a real Envoy that asks a gate beside it."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from kit.gate import LOOPBACK, SECRET, path_of, provider_sends_back
from kit.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider, on_a_socket
from kit.policies import policy_text, rule
from kit.translated import Answer, TranslatedEdge, endpoint, http_upstream, read_answer, translated_edge
from portico.gate.app import gate_app
from portico.model.endpoint import UnixSocket
from portico.translate.clusters import gate_cluster
from portico.translate.listeners import internal_listener

pytestmark = pytest.mark.asyncio(loop_scope="module")
Served = Callable[..., Awaitable[str]]
_numbers = itertools.count()
PAGE = {"accept": "text/html"}


class RunningGate:
    """One that Envoy asks; it can be taken away, and counts what it is asked."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "gate.sock")
        (directory / "gate.secrets").write_text(SECRET)
        self._app = gate_app(LOOPBACK, directory / "gate.secrets", internal=str(directory / "internal.sock"))
        self.asked: list[str] = []
        self.there = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.asked.append(scope["path"])
        if not self.there:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(edge: TranslatedEdge) -> AsyncIterator[RunningGate]:
    running = RunningGate(edge.directory)
    async with on_a_socket(running, running.path):
        frame = replace(edge.frame, gate_socket=running.path, internal_socket=str(edge.directory / "internal.sock"))
        await edge.ads.publish([gate_cluster(frame), internal_listener(frame)])
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream"), "upstream")


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[IdentityProvider]:
    async with identity_provider() as running:
        yield running


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket, gate: RunningGate) -> Served:
    """Publishes an endpoint with a policy, and gives its host."""

    async def publish(*rules: Any, **more: Any) -> str:
        name = f"g{next(_numbers)}.edge.test"
        text = policy_text(*rules, **more)
        await edge.publish(endpoint(f"https://{name}", upstream, traffic_policy=text, owner="me"))
        gate.there = True
        gate.asked.clear()
        return name

    return publish


def passed(answer: Answer) -> bool:
    """Whether the upstream has answered."""
    return answer.status == 200 and b"upstream\n" in answer.body[:20]


def sign_in(provider: IdentityProvider, **more: Any) -> tuple[str, dict[str, Any]]:
    return "openid-connect", {
        "issuer_url": provider.url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        **more,
    }


class Visitor:
    """A browser with cookies."""

    def __init__(self, edge: TranslatedEdge, host: str) -> None:
        self.edge, self.host, self.cookies = edge, host, dict[str, str]()

    async def get(self, path: str = "/", **headers: str) -> Answer:
        fields = {**PAGE, **headers}
        if self.cookies:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"host": self.host, **fields}.items())
        said = await self.edge.raw(self.host, f"GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n".encode())
        head, _, body = said.partition(b"\r\n\r\n")
        status, *given = head.decode().split("\r\n")
        pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in given)]
        answer = Answer(int(status.split(" ")[1]), dict(pairs), body)
        for line in (value for name, value in pairs if name == "set-cookie"):
            pair, *attributes = line.split("; ")
            name, _, value = pair.partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in attributes:
                self.cookies.pop(name)
        return answer

    async def sign_in(self, path: str = "/") -> Answer:
        answer = await self.get(path)
        assert answer.status == 302, answer
        back = await provider_sends_back(answer.headers["location"])
        assert urlsplit(back).netloc == self.host
        answer = await self.get(path_of(back))
        assert answer.status == 302, answer
        return await self.get(path_of(answer.headers["location"]))


async def test_somebody_signs_in(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(
        rule(sign_in(provider)),
        rule(("deny", {}), when=["!actions.ngrok.oidc.identity.email.endsWith('@example.com')"]),
        rule(("add-headers", {"headers": {"x-name": "${actions.ngrok.oidc.identity.name}"}})),
    )
    visitor = Visitor(edge, host)
    answer = await visitor.sign_in("/orders?page=2")
    assert passed(answer)
    assert "/orders?page=2" in answer.text
    assert "x-name: Jane Doe" in answer.text
    assert "ngrok-auth-user-email: jane@example.com" in answer.text
    provider.person["email"] = "jane@elsewhere.example"
    stranger = Visitor(edge, host)
    answer = await stranger.sign_in()
    assert answer.status == 403


async def test_a_known_session_asks_nothing(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, gate: RunningGate
) -> None:
    visitor = Visitor(edge, await served(rule(sign_in(provider))))
    await visitor.sign_in()
    gate.asked.clear()
    for _ in range(10):
        assert passed(await visitor.get())
    # Each of Envoy's workers may ask once.
    assert len(gate.asked) <= 2


async def test_visitors_cannot_say_who_they_are(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider
) -> None:
    host = await served(rule(sign_in(provider), when=["req.url.path.startsWith('/private')"]))
    visitor = Visitor(edge, host)
    forged = {"ngrok-auth-user-email": "ceo@example.com", "NGROK-AUTH-USER-ID": "1", "ngrok_auth-User_name": "ceo"}
    answer = await visitor.get("/public", **forged)
    assert passed(answer)
    assert "ngrok" not in answer.text.lower()
    assert (await visitor.get("/private", **forged)).status == 302
    assert passed(await visitor.sign_in("/private"))
    answer = await visitor.get("/private", **forged)
    assert "ceo@example.com" not in answer.text
    assert answer.text.lower().count("ngrok-auth-user-email") == 1


async def test_upstreams_do_not_see_sessions(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    visitor = Visitor(edge, await served(rule(sign_in(provider))))
    visitor.cookies = {"theme": "dark"}
    answer = await visitor.sign_in()
    assert "cookie: theme=dark\r\n" in answer.text
    visitor.cookies["lang"] = "en"
    visitor.cookies = dict(reversed(visitor.cookies.items()))
    answer = await visitor.get()
    assert "cookie: lang=en; theme=dark\r\n" in answer.text
    visitor.cookies = {name: value for name, value in visitor.cookies.items() if "portico" in name}
    assert "cookie" not in (await visitor.get()).text


async def test_internal_endpoints_do_not_see_sessions_of_those_before_them(
    edge: TranslatedEdge, served: Served, upstream: UnixSocket, provider: IdentityProvider
) -> None:
    own = policy_text(rule(sign_in(provider, auth_id="inner")), rule(("add-headers", {"headers": {"x-a": "b"}})))
    await edge.publish(
        endpoint("https://open.internal", upstream, owner="me"),
        endpoint("https://closed.internal", upstream, owner="me", traffic_policy=own),
    )
    host = await served(
        rule(sign_in(provider)),
        rule(("forward-internal", {"url": "https://closed.internal"}), when=["req.url.path == '/closed'"]),
        rule(("forward-internal", {"url": "https://closed.internal"}), when=["req.url.path.startsWith('/.portico')"]),
        rule(("forward-internal", {"url": "https://open.internal", "on_error": "continue"}), when=["size('a') == 1"]),
    )
    visitor = Visitor(edge, host)
    visitor.cookies = {"theme": "dark"}
    answer = await visitor.sign_in()
    assert passed(answer)
    assert "cookie: theme=dark\r\n" in answer.text
    # One with a sign-in of its own still finds its own session.
    assert passed(await visitor.sign_in("/closed"))
    assert sum("session" in name for name in visitor.cookies) == 2
    answer = await visitor.get("/closed")
    assert passed(answer)
    assert "cookie: theme=dark\r\n" in answer.text


async def test_programs_are_told(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(rule(sign_in(provider)))
    answer = await edge.get(host, "/api", headers={"accept": "application/json"})
    assert answer.status == 401
    assert answer.headers["portico-error-code"] == "PORTICO_20035"
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["status_code"] == 401


async def test_a_gate_that_is_away_lets_nobody_in(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, gate: RunningGate
) -> None:
    protected = await served(rule(sign_in(provider)))
    open_to_all = await served(rule(("add-headers", {"headers": {"x-a": "b"}})))
    gate.there = False
    assert passed(await edge.get(open_to_all))
    for headers in (PAGE, {}, {"cookie": "__Host-portico-session-x=1"}):
        answer = await edge.get(protected, headers=headers)
        assert answer.status == 500
        assert answer.headers["portico-error-code"] == "PORTICO_20027"


async def test_a_provider_that_is_away_lets_nobody_in(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider
) -> None:
    host = await served(rule(sign_in(provider)))
    provider.down = True
    answer = await edge.get(host, headers=PAGE)
    assert answer.status == 502
    assert answer.headers["portico-error-code"] == "PORTICO_20038"


async def test_a_session_that_is_renewed_comes_with_the_response(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider
) -> None:
    host = await served(rule(sign_in(provider, userinfo_refresh_interval="1s")))
    visitor = Visitor(edge, host)
    await visitor.sign_in()
    before = dict(visitor.cookies)
    provider.person["name"] = "Jane Roe"
    for _ in range(100):
        answer = await visitor.get()
        assert passed(answer)
        if visitor.cookies != before:
            break
        await asyncio.sleep(0.1)
    assert "ngrok-auth-user-name: Jane Roe" in answer.text


async def test_two_sign_ins_of_one_endpoint(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(
        rule(sign_in(provider, auth_id="a"), when=["req.url.path.startsWith('/a')"]),
        rule(sign_in(provider, auth_id="b"), when=["req.url.path.startsWith('/b')"]),
    )
    visitor = Visitor(edge, host)
    assert passed(await visitor.sign_in("/a"))
    assert passed(await visitor.sign_in("/b"))
    assert passed(await visitor.get("/a"))
    assert (await visitor.get("/ngrok/logout?auth_id=a")).status == 200
    assert passed(await visitor.get("/b"))
    assert (await visitor.get("/a")).status == 302


async def test_a_secret_may_be_an_expression(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(
        rule(("set-vars", {"vars": [{"id": CLIENT_ID}]})), rule(sign_in(provider, client_id="${vars.id}"))
    )
    assert passed(await Visitor(edge, host).sign_in())


def jwt(provider: IdentityProvider, *tokens: dict[str, str], **more: Any) -> tuple[str, dict[str, Any]]:
    header = {"type": "access_token", "method": "header", "name": "Authorization", "prefix": "Bearer "}
    return "jwt-validation", {
        "issuer": {"allow_list": [{"value": provider.url}]},
        "audience": {"allow_list": [{"value": "api"}]},
        "http": {"tokens": list(tokens) or [header]},
        "jws": {
            "allowed_algorithms": ["RS256"],
            "keys": {"sources": {"additional_jkus": [f"{provider.url}/keys"]}},
        },
        **more,
    }


def token(provider: IdentityProvider, **changed: Any) -> str:
    claims = {"iss": provider.url, "aud": "api", "sub": "svc-7", "exp": int(time.time()) + 600, **changed}
    return provider.signed(claims)


async def test_tokens_open_the_door(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, gate: RunningGate
) -> None:
    host = await served(
        rule(jwt(provider)),
        rule(
            (
                "add-headers",
                {
                    "headers": {
                        "x-sub": "${actions.ngrok.jwt_validation.tokens[0].payload.sub}",
                        "x-kid": "${actions.ngrok.jwt_validation.tokens[0].header.kid}",
                        "x-at": "${actions.ngrok.jwt_validation.tokens[0].location_property}",
                    }
                },
            )
        ),
    )
    good = {"authorization": f"Bearer {token(provider)}"}
    for _ in range(10):
        answer = await edge.get(host, headers=good)
        assert passed(answer)
    assert "x-sub: svc-7" in answer.text
    assert "x-kid: one" in answer.text
    assert "x-at: Authorization" in answer.text
    assert len(gate.asked) <= 2
    for bad in (token(provider, exp=1), token(provider, aud="x"), token(provider)[:-3] + "AAA", "x", "a.b.c"):
        answer = await edge.get(host, headers={"authorization": f"Bearer {bad}"})
        assert answer.status == 401
        assert answer.headers["portico-error-code"] == "PORTICO_20037"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}])
async def test_a_missing_token_is_refused_without_the_gate(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, gate: RunningGate, headers: dict[str, str]
) -> None:
    host = await served(rule(jwt(provider)))
    answer = await edge.get(host, headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["portico-error-code"] == "PORTICO_20037"
    assert gate.asked == []


async def test_tokens_in_bodies(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(rule(jwt(provider, {"type": "it+jwt", "method": "body", "name": "_id_token"})))
    good = token(provider)
    for kind, body in (
        ("application/json", json.dumps({"_id_token": good})),
        ("application/x-www-form-urlencoded", f"a=b&_id_token={good}"),
    ):
        for sent, status in ((body, 200), (body.replace("_id_token", "other"), 401)):
            head = f"POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {len(sent)}\r\n"
            reader, writer = await edge.open(host)
            writer.write(f"{head}\r\n{sent}".encode())
            assert (await read_answer(reader)).status == status
            writer.close()


async def test_without_keys_no_token_is_good(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    host = await served(rule(jwt(provider)))
    provider.down = True
    answer = await edge.get(host, headers={"authorization": f"Bearer {token(provider)}"})
    assert answer.status == 502


def request(url: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "http-request", {"url": url, **more}


async def test_another_service_is_asked(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    url = f"{provider.url}/.well-known/openid-configuration"
    seen = "actions.ngrok.http_request"
    host = await served(
        rule(request(url, headers={"x-a": "${req.method}"}, query_params=[{"key": "a", "value": "b c"}])),
        rule(
            (
                "custom-response",
                {
                    "body": f"${{{seen}.res.status_code}} ${{{seen}.res.resolved_ip}} "
                    f"${{{seen}.res.header['content-type'][0]}} ${{size({seen}.attempts)}} ${{{seen}.req.url}}"
                },
            )
        ),
    )
    answer = await edge.get(host)
    assert answer.text == f"200 127.0.0.1 application/json 1 {url}"


async def test_a_service_that_does_not_answer(edge: TranslatedEdge, served: Served, provider: IdentityProvider) -> None:
    going_on = await served(
        rule(request("http://127.0.0.1:1/")),
        rule(("add-headers", {"headers": {"x-why": "${actions.ngrok.http_request.error.message}"}})),
    )
    answer = await edge.get(going_on)
    assert passed(answer)
    assert "x-why: " in answer.text
    halting = await served(rule(request("http://127.0.0.1:1/", on_error="halt")))
    answer = await edge.get(halting)
    assert answer.status == 502
    assert answer.headers["portico-error-code"] == "PORTICO_20038"


async def test_a_service_is_asked_in_the_response_phase(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider
) -> None:
    seen = "actions.ngrok.http_request.res.status_code"
    host = await served(
        response=[
            rule(request(f"{provider.url}/.well-known/openid-configuration")),
            rule(("add-headers", {"headers": {"x-status": f"${{{seen}}}"}})),
        ]
    )
    answer = await edge.get(host)
    assert passed(answer)
    assert answer.headers["x-status"] == "200"


async def test_internal_endpoints_are_reached_under_their_own_policies(
    edge: TranslatedEdge, served: Served, upstream: UnixSocket
) -> None:
    await edge.publish(
        endpoint("https://free.internal", upstream, owner="me"),
        endpoint("https://strict.internal", upstream, owner="me", traffic_policy=policy_text(rule(("deny", {})))),
        endpoint("https://strange.internal", upstream, owner="somebody else"),
        endpoint("http://deep.internal:8080", upstream, owner="me"),
    )

    async def asked(url: str, **more: Any) -> str:
        seen = "actions.ngrok.http_request"
        body = f"${{{seen}.res.status_code}} ${{{seen}.res.body}}"
        host = await served(rule(request(url, **more)), rule(("custom-response", {"body": body})))
        return (await edge.get(host)).text

    answer = await asked("https://free.internal/ping?a=b", headers={"x-a": "b"})
    assert answer.startswith("200 upstream\nGET /ping?a=b HTTP/1.1\r\nhost: free.internal\r\n")
    assert "x-a: b" in answer
    assert "x-edge" not in answer
    assert (await asked("https://strict.internal/")).startswith("403 ")
    assert (await asked("http://deep.internal:8080/")).startswith("200 upstream")
    for stranger in ("https://strange.internal/", "https://absent.internal/", "http://free.internal/"):
        assert not (await asked(stranger)).startswith("200")


async def test_a_gate_that_hangs_up_lets_nobody_in(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, gate: RunningGate
) -> None:
    host = await served(rule(request(f"{provider.url}/userinfo")))
    gate.there = False
    answer = await edge.get(host)
    assert answer.status == 500
    with contextlib.suppress(KeyError):
        assert answer.headers["portico-error-code"] == "PORTICO_20027"


@pytest.mark.parametrize("behind", ["deny", "request-body-find-replace"])
async def test_a_body_that_comes_while_the_gate_is_asked(
    edge: TranslatedEdge, served: Served, provider: IdentityProvider, behind: str
) -> None:
    config = {"status_code": 451} if behind == "deny" else {"replacements": [{"from": "a", "to": "b"}]}
    host = await served(rule(jwt(provider)), rule((behind, config)))
    for number in range(5):
        reader, writer = await edge.open(host)
        bearer = f"authorization: Bearer {token(provider, jti=str(number))}"  # which nobody knows yet
        writer.write(f"POST / HTTP/1.1\r\nhost: {host}\r\n{bearer}\r\ncontent-length: 3\r\n\r\n".encode())
        await writer.drain()
        writer.write(b"aaa")
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        writer.close()
        assert status == (451 if behind == "deny" else 200)
