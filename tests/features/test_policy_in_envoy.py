"""How policies run in a real Envoy: order, phases, hops to internal endpoints, and what happens when one fails."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from kit.policies import Served, policy_text, rule, serving
from kit.translated import Answer, TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model.endpoint import UnixSocket
from portico.translate.policy.runtime_source import request_script
from portico.translate.policy.slots import TOKEN_HEADER

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(edge: TranslatedEdge) -> UnixSocket:
    return await edge.serve(http_upstream("upstream", {"x-own": "1"}), "upstream")


@pytest.fixture
def served(edge: TranslatedEdge, upstream: UnixSocket) -> Served:
    return serving(edge, upstream)


def passed(answer: Answer) -> bool:
    """Whether the upstream has answered."""
    return answer.status == 200 and answer.body.startswith(b"upstream\n")


async def test_rules_run_in_order_until_one_ends_the_request(edge: TranslatedEdge, served: Served) -> None:
    host = await served(
        policy_text(
            rule(("set-vars", {"vars": [{"who": "${req.headers['x-who'][0]}"}]}), when=["hasReqHeader('x-who')"]),
            rule(("deny", {"status_code": 451}), when=["req.url.path == '/no'"]),
            rule(
                ("custom-response", {"status_code": 418, "body": "${req.method} ${req.url.path} ${vars.who}"}),
                when=["req.url.path.startsWith('/tea')"],
            ),
            rule(("add-headers", {"headers": {"x-last": "yes"}})),
        )
    )
    assert (await edge.get(host, "/no")).status == 451
    tea = await edge.get(host, "/tea/pot", headers={"x-who": "me"})
    assert (tea.status, tea.text) == (418, "GET /tea/pot me")
    other = await edge.get(host, "/other")
    assert passed(other)
    assert "x-last: yes" in other.text
    assert TOKEN_HEADER not in other.text


async def test_the_response_phase_knows_what_the_request_phase_did(edge: TranslatedEdge, served: Served) -> None:
    host = await served(
        policy_text(
            rule(("set-vars", {"vars": [{"n": "${1 + 1}"}]})),
            response=[
                rule(
                    ("add-headers", {"headers": {"x-told": "${vars.n} ${req.url.path} ${res.status_code}"}}),
                    ("remove-headers", {"headers": ["x-own"]}),
                    when=["vars.n == 2", "res.status_code == 200"],
                )
            ],
        )
    )
    answer = await edge.get(host, "/path")
    assert answer.headers["x-told"] == "2 /path 200"
    assert "x-own" not in answer.headers


async def test_an_answer_in_the_place_of_the_upstreams(edge: TranslatedEdge, served: Served) -> None:
    host = await served(
        policy_text(response=[rule(("custom-response", {"status_code": 503, "body": '{"down": true}'}))])
    )
    answer = await edge.get(host)
    assert (answer.status, answer.text) == (503, '{"down": true}')
    assert answer.headers["content-type"] == "application/json"
    assert "x-own" not in answer.headers


async def test_a_failing_expression_refuses_where_its_rule_could_stop(edge: TranslatedEdge, served: Served) -> None:
    stopping = await served(policy_text(rule(("deny", {"status_code": 451}), when=["vars.nothing == 'x'"])))
    answer = await edge.get(stopping)
    assert answer.status == 403
    assert answer.headers["portico-error-code"] == "PORTICO_20024"
    harmless = await served(policy_text(rule(("add-headers", {"headers": {"x-a": "b"}}), when=["vars.nothing == 'x'"])))
    answer = await edge.get(harmless)
    assert passed(answer)
    assert "x-a:" not in answer.text


async def test_a_failing_expression_of_an_answer_refuses(edge: TranslatedEdge, served: Served) -> None:
    host = await served(policy_text(rule(("custom-response", {"body": "${req.headers['x-gone'][0]}"}))))
    assert (await edge.get(host)).status == 403


async def test_a_policy_that_cannot_run_lets_nobody_in(edge: TranslatedEdge, upstream: UnixSocket) -> None:
    """Envoy itself would let a request pass a Lua filter that fails."""
    broken = edge.directory / "broken.lua"
    for script in (broken, Path(request_script(str(broken)))):
        script.write_text("function envoy_on_request(handle) error('broken') end\n")
    policy = policy_text(rule(("add-headers", {"headers": {"x-a": "b"}})))
    frame, edge.frame = edge.frame, replace(edge.frame, policy_script=str(broken))
    await edge.publish(endpoint("https://broken.edge.test", upstream, traffic_policy=policy))
    edge.frame = frame
    answer = await edge.get("broken.edge.test", headers={TOKEN_HEADER: "passed"})
    assert answer.status == 500
    assert answer.headers["portico-error-code"] == "PORTICO_20027"


async def test_wildcards_and_other_spellings_meet_the_policy(edge: TranslatedEdge, served: Served) -> None:
    await served(policy_text(rule(("deny", {"status_code": 451}))), host="*.wild.test")
    assert (await edge.get("a.wild.test")).status == 451
    assert (await edge.get("a.wild.test", host="A.WILD.test:443")).status == 451


async def test_changing_a_policy_changes_the_next_request(edge: TranslatedEdge, served: Served) -> None:
    host = await served(policy_text(rule(("deny", {"status_code": 451}))))
    assert (await edge.get(host)).status == 451
    await served(policy_text(rule(("deny", {"status_code": 410}))), host=host)
    assert (await edge.get(host)).status == 410
    await served("", host=host)
    assert passed(await edge.get(host))


async def test_visitors_addresses(edge: TranslatedEdge, served: Served) -> None:
    inside = await served(policy_text(connect=[rule(("restrict-ips", {"allow": ["127.0.0.0/8", "::1"]}))]))
    assert passed(await edge.get(inside))
    outside = await served(policy_text(rule(("restrict-ips", {"allow": ["10.0.0.0/8"], "deny": ["127.0.0.1"]}))))
    answer = await edge.get(outside, headers={"x-forwarded-for": "10.0.0.1"})
    assert answer.status == 403


async def test_passwords(edge: TranslatedEdge, served: Served) -> None:
    host = await served(policy_text(rule(("basic-auth", {"credentials": ["me:password1"], "realm": "here"}))))
    missing = await edge.get(host)
    assert (missing.status, missing.headers["www-authenticate"]) == (401, 'Basic realm="here"')
    assert (await edge.get(host, headers={"authorization": "Basic bWU6cGFzc3dvcmQy"})).status == 401
    assert passed(await edge.get(host, headers={"authorization": "Basic bWU6cGFzc3dvcmQx"}))


async def test_redirects_and_rewrites(edge: TranslatedEdge, served: Served) -> None:
    host = await served(
        policy_text(
            rule(("redirect", {"from": "/old/(.*)", "to": "/new/$1", "status_code": 301})),
            rule(("url-rewrite", {"from": "/v1/(\\w+)", "to": "/api/$1?v=1"})),
        )
    )
    moved = await edge.get(host, "/old/a")
    assert (moved.status, moved.headers["location"]) == (301, f"https://{host}/new/a")
    assert "GET /api/users?v=1 HTTP/1.1" in (await edge.get(host, "/v1/users")).text
    assert "GET /other HTTP/1.1" in (await edge.get(host, "/other")).text


async def test_a_rate_limit_counts_by_its_key(edge: TranslatedEdge, served: Served) -> None:
    limit = {"name": "l", "algorithm": "sliding_window", "capacity": 2, "rate": "60s"}
    host = await served(
        policy_text(
            rule(
                ("rate-limit", {**limit, "bucket_key": ["req.headers['x-key'][0]"]}),
                ("add-headers", {"headers": {"x-behind": "${actions.ngrok.rate_limit.bucket_key}"}}),
                when=["hasReqHeader('x-key')"],
            ),
        )
    )
    first = [await edge.get(host, headers={"x-key": "a"}) for _ in range(3)]
    assert [answer.status for answer in first] == [200, 200, 429]
    assert "x-edge-limit" not in first[0].text
    assert 'x-behind: ["a"]' in first[0].text
    assert int(first[2].headers["retry-after"]) > 0
    assert first[2].headers["portico-error-code"] == "PORTICO_20033"
    assert passed(await edge.get(host, headers={"x-key": "b"}))
    assert all([passed(await edge.get(host)) for _ in range(4)])


async def test_a_limit_that_is_not_enforced_tells_what_it_found(edge: TranslatedEdge, served: Served) -> None:
    limit = {"name": "l", "algorithm": "sliding_window", "capacity": 1, "rate": "60s", "enforce": False}
    host = await served(
        policy_text(
            rule(("rate-limit", {**limit, "bucket_key": ["conn.client_ip"]})),
            rule(("deny", {"status_code": 451}), when=["actions.ngrok.rate_limit.limited"]),
        )
    )
    assert [(await edge.get(host)).status for _ in range(2)] == [200, 451]


async def test_forwarding_to_internal_endpoints(edge: TranslatedEdge, upstream: UnixSocket, served: Served) -> None:
    inner = policy_text(
        rule(("add-headers", {"headers": {"x-inner": "${endpoint.url}"}})),
        rule(("forward-internal", {"url": "https://deep.internal"}), when=["req.url.path == '/deep'"]),
        response=[rule(("add-headers", {"headers": {"x-order": "inner"}}))],
    )
    deny = policy_text(rule(("deny", {"status_code": 451})))
    await edge.publish(
        endpoint("https://inner.internal", upstream, traffic_policy=inner, owner="me"),
        endpoint("https://deep.internal", upstream, traffic_policy=deny, owner="me"),
        endpoint("https://theirs.internal", upstream, owner="somebody"),
    )
    host = await served(
        policy_text(
            rule(("forward-internal", {"url": "https://theirs.internal"}), when=["req.url.path == '/theirs'"]),
            rule(
                ("forward-internal", {"url": "https://gone.internal", "on_error": "continue"}),
                ("add-headers", {"headers": {"x-went": "on"}}),
                when=["req.url.path == '/gone'"],
            ),
            rule(("forward-internal", {"url": "https://inner.internal"})),
            response=[rule(("add-headers", {"headers": {"x-order": "outer"}}))],
        )
    )
    answer = await edge.get(host, "/some")
    assert passed(answer)
    assert "x-inner: https://inner.internal" in answer.text
    assert answer.headers["x-order"] == "outer"
    assert (await edge.get(host, "/deep")).status == 451
    theirs = await edge.get(host, "/theirs")
    assert (theirs.status, theirs.headers["portico-error-code"]) == (502, "PORTICO_20028")
    assert "x-went: on" in (await edge.get(host, "/gone")).text


async def test_nobody_comes_to_an_internal_endpoint_from_outside(edge: TranslatedEdge, upstream: UnixSocket) -> None:
    await edge.publish(endpoint("https://inside.internal", upstream, owner="me"))
    forged = {"x-edge-class": "internal1-me", "x-edge-host": "https+inside.internal+443"}
    await edge.publish(endpoint("https://outside.edge.test", upstream, owner="me"))
    assert passed(await edge.get("outside.edge.test", headers=forged))
    answer = await edge.get("outside.edge.test", host="inside.internal", headers=forged)
    assert answer.status in (404, 421)
    answer = await edge.get_plain("inside.internal", headers=forged)
    assert answer.status == 404


async def test_a_breaker_opens_when_too_many_answers_fail(edge: TranslatedEdge) -> None:
    broken = await edge.serve(http_upstream("broken", status="500 Broken"), "broken")
    policy = policy_text(rule(("circuit-breaker", {"volume_threshold": 4, "tripped_duration": "60s"})))
    await edge.publish(endpoint("https://breaker.edge.test", broken, traffic_policy=policy))
    statuses = [(await edge.get("breaker.edge.test")).status for _ in range(30)]
    assert statuses[0] == 500
    assert statuses[-1] == 503


async def test_the_response_phase_sees_an_answer_of_the_request_phase(edge: TranslatedEdge, served: Served) -> None:
    host = await served(
        policy_text(
            rule(("set-vars", {"vars": [{"n": "${1 + 1}"}]})),
            rule(("deny", {"status_code": 451}), when=["req.url.path == '/no'"]),
            rule(("custom-response", {"status_code": 418, "body": "tea", "headers": {"x-own": "1"}})),
            response=[
                rule(
                    ("add-headers", {"headers": {"x-told": "${vars.n} ${req.url.path} ${res.headers['x-own'][0]}"}}),
                    ("remove-headers", {"headers": ["x-own"]}),
                    when=["res.status_code == 418"],
                ),
                rule(("custom-response", {"status_code": 503, "body": "gone"}), when=["req.url.path == '/other'"]),
                rule(("add-headers", {"headers": {"x-last": "yes"}})),
            ],
        )
    )
    answer = await edge.get(host, "/path")
    assert (answer.status, answer.text, answer.headers["x-told"]) == (418, "tea", "2 /path 1")
    assert answer.headers["x-last"] == "yes"
    assert "x-own" not in answer.headers
    answer = await edge.get(host, "/other")
    assert (answer.status, answer.text) == (503, "gone")
    # Whoever is denied gets nothing of the rules behind it.
    answer = await edge.get(host, "/no")
    assert answer.status == 451
    assert "x-last" not in answer.headers
