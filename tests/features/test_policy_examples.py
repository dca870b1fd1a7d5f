"""Every example of every action in a real Envoy: what `explain` says of its requests is what becomes of them."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import pytest
import pytest_asyncio
import yaml

from kit.explained import Upstreams, ask, differences, explained
from kit.translated import TranslatedEdge, endpoint, translated_edge
from portico.cli.policy import explain as command
from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.policy_secrets import with_secrets
from portico.model.endpoint import EdgeTls, Endpoint, Scheme, UnixSocket
from portico.policy.effects import End
from portico.policy.explain import Explanation
from portico.policy.request import Visit, flat

pytestmark = pytest.mark.asyncio(loop_scope="module")
FOLDER = Path(__file__).parents[1] / "golden" / "policy"

LOOPBACK: Final = {
    "192.0.2.": "127.0.2.",
    "198.51.100.": "127.51.100.",
    "203.0.113.": "127.0.113.",
    "2001:db8::/32": "127.32.0.0/16",
    "2001:db8::": "127.32.0.",
}
"""Addresses for documentation (RFC 5737, RFC 3849), and addresses of this machine that stand for them."""
ASSUMED: Final = {
    "oauth": "who has signed in, and may: test_gate_policies.py and test_gate_dex.py sign in",
    "openid-connect": "who has signed in, and may: test_gate_policies.py and test_gate_dex.py sign in",
    "http-request": "what another service answers: test_gate_policies.py has one",
    "jwt-validation": "that a token is right: test_gate_policies.py has right and wrong ones",
    "verify-webhook": "that a signature is right: test_policy_actions.py signs",
}
"""What an explanation takes for granted, and what shows it. Here nobody vouches for it, so nobody may come through.

That a limit has room, a breaker is closed and an internal endpoint is there is assumed, too, and holds here.
"""


@dataclass(frozen=True)
class Example:
    """A policy, and one request to it."""

    action: str
    policy: str
    visit: Visit


def examples() -> Iterator[Any]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            for number, asked in enumerate(case.get("explain", [])):
                policy = on_loopback(case["policy"])
                visit = described(asked["request"], asked.get("options", []), case.get("facts", {}))
                example = Example(path.stem, policy, visit)
                yield pytest.param(example, id=f"{path.stem}: {case['case']} {number}")


def on_loopback(text: str) -> str:
    for network, here in LOOPBACK.items():
        text = text.replace(network, here)
    return text


def described(request: str, options: list[str], facts: dict[str, Any]) -> Visit:
    """The visit that the command line describes."""
    with click.Context(command) as context:
        command.parse_args(context, ["-", "--request", request, *options])
    given = context.params
    said, _, url = request.rpartition(" ")
    return Visit(
        url=url,
        method=given["method"] or said or "GET",
        headers=pairs(given["headers"]),
        client_ip=on_loopback(given["client_ip"]),
        body=given["body"],
        status=given["status"],
        response_headers=pairs(given["answered"]),
        facts=flat(facts) if given["facts"] else {},
    )


def pairs(written: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name.strip(), value.strip()) for name, _, value in (one.partition(":") for one in written)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest.fixture(scope="module")
def upstreams() -> Upstreams:
    return Upstreams()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def addresses(edge: TranslatedEdge, upstreams: Upstreams) -> tuple[UnixSocket, UnixSocket]:
    """The endpoint's own service, and the one of internal endpoints."""
    return await upstreams.serve(edge, "own"), await upstreams.serve(edge, "internal")


@pytest.fixture(scope="module")
def published() -> dict[str, Endpoint]:
    return {}


@pytest.mark.parametrize("example", list(examples()))
async def test_an_explanation_is_what_happens(
    edge: TranslatedEdge,
    upstreams: Upstreams,
    addresses: tuple[UnixSocket, UnixSocket],
    published: dict[str, Endpoint],
    example: Example,
) -> None:
    url = urlsplit(example.visit.url)
    scheme, place = Scheme(url.scheme), f"{url.scheme}://{url.hostname}"
    text = endpoint_policy([example.policy], scheme).text
    text = with_secrets(text, lambda _vault, _name: "a-secret-of-somebody") if text else text
    before = explained(text, example.visit, {})
    tls = {"tls": EdgeTls(edge.authority.issue(url.hostname or ""))} if scheme is Scheme.HTTPS else {}
    new = endpoint(place, addresses[0], traffic_policy=text, owner="me", **tls)
    if to := forwarded(before):
        await edge.publish(endpoint(to, addresses[1], owner="me"))
    await edge.replace(published.get(place), new)
    published[place] = new
    seen, facts = await ask(edge, upstreams, example.visit)
    if takes_for_granted(before, example):
        assert seen.upstream is None, seen
        assert seen.status in (401, 403, 500, 502), seen
        return
    said = explained(text, example.visit, facts)
    assert not differences(said, seen), f"{example.policy}\n{said}\n{seen}"
    assert seen.upstream is None or seen.upstream.name == ("internal" if to else "own")


def takes_for_granted(said: Explanation, example: Example) -> bool:
    """Whether the explanation says more than anybody here can know."""
    return any(
        done.type in ASSUMED and (done.effect.assumed or bool(example.visit.facts) or "preflight" in done.effect.text)
        for ran in said.rules
        for done in ran.done
    )


def forwarded(said: Explanation) -> str:
    """The internal endpoint that the visit comes to, if it comes to one."""
    endings = (done.effect.ending for ran in said.rules for done in ran.done)
    return next((one.to for one in endings if one and one.kind is End.FORWARDED), "")
