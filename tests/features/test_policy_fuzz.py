"""Drawn policies and requests: what `explain` says is what a real Envoy does.

`PORTICO_FUZZ_EXAMPLES` is how many times twenty of them there are.
"""

import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kit.explained import Upstreams, ask, differences, explained
from kit.policy_cases import policies, visits
from kit.translated import TranslatedEdge, endpoint, translated_edge
from portico.edge.endpoint_policy import endpoint_policy
from portico.model.endpoint import Scheme, UnixSocket
from portico.model.errors import PorticoError
from portico.policy.request import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")
AT_ONCE: Final = 20
TIMES: Final = int(os.environ.get("PORTICO_FUZZ_EXAMPLES", "3"))
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest.fixture(scope="module")
def upstreams() -> Upstreams:
    return Upstreams()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(edge: TranslatedEdge, upstreams: Upstreams) -> UnixSocket:
    address, inner = await upstreams.serve(edge, "own"), await upstreams.serve(edge, "internal")
    await edge.publish(endpoint("https://inner.internal", inner, owner="me"))
    return address


@settings(
    max_examples=TIMES,
    derandomize="PORTICO_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
@given(cases=st.lists(st.tuples(policies, visits), min_size=AT_ONCE, max_size=AT_ONCE))
async def test_explain_and_envoy_agree(
    edge: TranslatedEdge, upstreams: Upstreams, own: UnixSocket, cases: list[tuple[dict[str, Any], Visit]]
) -> None:
    published = {}
    for policy, visit in cases:
        host = f"f{next(_numbers)}.edge.test"
        if (text := offered(policy)) is not None:
            here = replace(visit, url=visit.url.replace("HOST", host))
            published[host] = endpoint(f"https://{host}", own, traffic_policy=text, owner="me"), here
    await edge.publish(*(one for one, _ in published.values()))
    wrong = []
    for one, visit in published.values():
        seen, facts = await ask(edge, upstreams, visit)
        said = explained(one.traffic_policy, visit, facts)
        if found := differences(said, seen):
            wrong.append(f"{found}\n{one.traffic_policy}\n{visit}\n{said}\n{seen}\n")
    for one, _ in published.values():
        await edge.remove(one)
    assert not wrong, "\n".join(wrong)


def offered(policy: dict[str, Any]) -> str | None:
    """The policy as doors hand it on; None where they refuse it, as one with an expression that always fails."""
    try:
        return endpoint_policy([policy], Scheme.HTTPS).text
    except PorticoError:
        return None
