import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from kit.tunnel_pair import Pair


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def make_pair() -> AsyncIterator[Callable[[], Pair]]:
    pairs: list[Pair] = []

    def make() -> Pair:
        pairs.append(Pair())
        return pairs[-1]

    yield make
    for pair in pairs:
        for side in (pair.agent, pair.relay):
            side.abort("the test is over")
        await asyncio.wait(pair.ends.values(), timeout=30)
