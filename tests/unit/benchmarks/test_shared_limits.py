"""How often shared limits are asked for: what the guide says of it."""

import pytest
from benchmarks.shared_limits import REQUESTS, questions


@pytest.mark.parametrize(("capacity", "most"), [(1_000, 150), (10_000, 100)])
async def test_few_requests_ask(capacity: int, most: int) -> None:
    asked, takes = await questions(capacity, nodes=3, workers=4)
    assert 0 < takes <= asked <= most * REQUESTS // 1_000
