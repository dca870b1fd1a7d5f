"""Visitors and faults that try a policy's doors: nobody comes through, and others are served meanwhile."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from kit.policies import policy_text, rule
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import UnixSocket
from portico.translate.clusters import gate_cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
Served = Callable[..., Awaitable[str]]
_numbers = itertools.count()
SIGN_IN = {"issuer_url": "https://login.example.com", "client_id": "a", "client_secret": "a-long-secret"}
TOKENS = {
    "issuer": {"allow_list": [{"value": "https://login.example.com"}]},
    "audience": {"allow_list": [{"value": "a"}]},
    "http": {"tokens": [{"type": "jwt", "method": "header", "name": "authorization", "prefix": "Bearer "}]},
    "jws": {
        "allowed_algorithms": ["RS256"],
        "keys": [{"sources": {"additional_jkus": ["https://login.example.com/k"]}}],
    },
}
ASKS_THE_GATE = {
    "oauth": {"provider": "github", "client_id": "a", "client_secret": "a-long-secret"},
    "openid-connect": SIGN_IN,
    "jwt-validation": TOKENS,
    "http-request": {"url": "https://who.example.com", "on_error": "halt"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream", {"x-big": "a" * 20_000}), "upstream")


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    async def publish(policy: str) -> str:
        name = f"v{next(_numbers)}.edge.test"
        await edge.publish(endpoint(f"https://{name}", upstream, traffic_policy=policy, owner="me"))
        return name

    return publish


@pytest.mark.parametrize("action", ASKS_THE_GATE)
async def test_a_gate_whose_socket_is_gone_lets_nobody_in(edge: TranslatedEdge, served: Served, action: str) -> None:
    await edge.ads.publish([gate_cluster(replace(edge.frame, gate_socket=str(edge.directory / "nowhere.sock")))])
    host = await served(policy_text(rule((action, ASKS_THE_GATE[action]))))
    answer = await edge.get(host, headers={"authorization": "Bearer e30.e30.x", "accept": "text/html"})
    assert answer.status in (401, 500, 502, 503)
    assert b"upstream" not in answer.body[:20]


BLOW_UPS = {
    "what grows": [("set-vars", {"vars": [{"v": "aaaaaaaaaaaaaaaa"}, *[{"v": "${vars.v.replace('a', vars.v)}"}] * 8]})],
    "loops in loops": [
        ("set-vars", {"vars": [{"l": "${req.url.path.split('')}"}]}),
        ("set-vars", {"vars": [{"v": "${vars.l.all(a, vars.l.all(b, vars.l.all(c, a != b || b == a || c == a)))}"}]}),
    ],
}


@pytest.mark.parametrize("attempt", BLOW_UPS)
async def test_a_policy_that_would_never_end_does_not_keep_others(
    edge: TranslatedEdge, served: Served, attempt: str
) -> None:
    greedy = await served(policy_text(rule(*BLOW_UPS[attempt]), rule(("deny", {}), when=["vars.v != ''"])))
    other = await served(policy_text(rule(("add-headers", {"headers": {"x-a": "b"}}))))
    path = "/" + "a" * 400
    answers = await asyncio.gather(*(edge.get(greedy, path) for _ in range(4)), *(edge.get(other) for _ in range(8)))
    assert all(answer.status in (403, 500) for answer in answers[:4])
    assert all(answer.body.startswith(b"upstream\n") for answer in answers[4:])


PRIVATE = ("policy", "class", "host", "limit", "limited", "limit-0", "cache-control")


async def test_visitors_own_private_headers_have_no_effect(edge: TranslatedEdge, served: Served) -> None:
    limit = {"name": "l", "algorithm": "sliding_window", "capacity": 1, "rate": "60s", "bucket_key": ["conn.client_ip"]}
    limited = await served(policy_text(rule(("rate-limit", limit))))
    denied = await served(policy_text(rule(("deny", {"status_code": 451}))))
    forged = {f"x-edge-{name}": "passed" for name in PRIVATE}
    assert [(await edge.get(limited, headers=forged)).status for _ in range(2)] == [200, 429]
    assert (await edge.get(denied, headers=forged)).status == 451
    seen = await served(policy_text(rule(("custom-response", {"body": "${req.headers}"}))))
    assert "x-edge" not in (await edge.get(seen, headers=forged)).text
