"""How many keys a rate limit remembers, what becomes of those it forgets, and how it lets requests in again."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from kit.policies import policy_text, rule
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import Endpoint, UnixSocket
from portico.translate.policy.actions import rate_limit

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = 20
_numbers = itertools.count()
Served = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream"), "upstream")


def limited(upstream: UnixSocket, host: str, **more: Any) -> Endpoint:
    """An endpoint where each path is counted."""
    limit = {"name": "l", "algorithm": "sliding_window", "rate": "60s", "bucket_key": ["req.url.path"], **more}
    return endpoint(f"https://{host}", upstream, traffic_policy=policy_text(rule(("rate-limit", limit))), owner="me")


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    async def publish(**more: Any) -> str:
        host = f"k{next(_numbers)}.edge.test"
        await edge.publish(limited(upstream, host, **more))
        return host

    return publish


async def test_the_key_that_was_silent_longest_is_forgotten(
    edge: TranslatedEdge, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "KEYS", KEYS)
    host = await served(capacity=1)

    async def status(path: str) -> int:
        return (await edge.get(host, path)).status

    assert [await status("/first"), await status("/first")] == [200, 429]
    assert {await status(f"/{number}") for number in range(KEYS - 1)} == {200}
    assert await status("/first") == 429, "asking again keeps a key, and there was room for all"
    assert {await status(f"/more/{number}") for number in range(KEYS)} == {200}
    assert await status("/first") == 200, "it begins anew"
    assert await status(f"/more/{KEYS - 1}") == 429


async def test_room_comes_back_bit_by_bit(edge: TranslatedEdge, served: Served) -> None:
    host = await served(capacity=30)
    answers = [await edge.get(host) for _ in range(40)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    # One request in two seconds: not the minute until the whole capacity would be there.
    assert all(int(answer.headers["retry-after"]) <= 2 for answer in refused)


async def test_what_an_agent_does_to_its_endpoint_forgives_nothing(edge: TranslatedEdge, upstream: UnixSocket) -> None:
    host = f"k{next(_numbers)}.edge.test"
    old = limited(upstream, host, capacity=1)
    await edge.publish(old)
    assert [(await edge.get(host)).status for _ in range(2)] == [200, 429]
    again = await edge.serve(http_upstream("upstream"), "again")
    new = limited(again, host, capacity=1)
    await edge.replace(old, new)
    assert (await edge.get(host)).status == 429, "another agent, the same policy"
    await edge.replace(new, limited(again, host, capacity=2))
    assert (await edge.get(host)).status == 200, "another policy counts from nothing"
