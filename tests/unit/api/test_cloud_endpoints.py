"""Cloud endpoints as the API keeps them; `tests/unit/edge/test_cloud.py` shows how they come online."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from kit.api import Api
from portico.api.ports import LiveEndpoint
from portico.model.endpoint import EndpointUrl
from portico.policy import served

ANSWER = json.dumps({"on_http_request": [{"actions": [{"type": "custom-response", "config": {"status_code": 200}}]}]})
OTHER = "on_http_request:\n  - actions:\n      - type: deny\n"


@pytest.fixture(autouse=True)
def _everything_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_ENFORCED", ("custom-response", "deny", "add-headers"))


def cloud(host: str = "www.example.com", **fields: object) -> dict[str, object]:
    return {"url": f"https://{host}", "type": "cloud", "traffic_policy": ANSWER, **fields}


async def problem(api: Api, body: dict[str, object]) -> tuple[int, str, str]:
    answer = await api.send("POST", "/endpoints", body)
    return answer.status_code, answer.json()["error_code"], answer.json()["msg"]


async def test_one_is_made_served_changed_and_removed(api: Api) -> None:
    made = await api.make("/endpoints", cloud(description="site", metadata="m", pooling_enabled=True))
    assert (made["url"], made["type"], made["bindings"]) == ("https://www.example.com", "cloud", ["public"])
    assert (made["traffic_policy"], made["pooling_enabled"], made["metadata"]) == (ANSWER, True, "m")
    assert (made["tunnel"], made["tunnel_session"]) == (None, None)
    assert made["principal"]["id"] == api.owner_id("default")
    path = f"/endpoints/{made['id']}"
    assert (await api.send("GET", path)).json() == made
    changed = (await api.send("PATCH", path, {"traffic_policy": OTHER, "url": "shop.example.com"})).json()
    assert (changed["url"], changed["traffic_policy"]) == ("https://shop.example.com", OTHER)
    assert changed["updated_at"] > made["updated_at"]
    assert changed["created_at"] == made["created_at"]
    assert (await api.send("DELETE", path)).status_code == 204
    assert (await api.send("GET", path)).status_code == 404
    assert api.node.told == [
        ("serve", made["id"], "www.example.com", ANSWER),
        ("serve", made["id"], "shop.example.com", OTHER),
        ("withdraw", made["id"]),
    ]


async def test_they_are_listed_beside_what_is_live(api: Api) -> None:
    made = await api.make("/endpoints", cloud())
    live = LiveEndpoint("ff", "s1", api.owner_id("default"), EndpointUrl.parse("tcp://x.test:1"), datetime.now(UTC))
    api.node.live_endpoints.append(live)
    first = (await api.send("GET", "/endpoints?limit=1")).json()
    second = (await api.send("GET", first["next_page_uri"])).json()
    assert [entry["id"] for entry in (*first["endpoints"], *second["endpoints"])] == ["ep_ff", made["id"]]
    by_url = (await api.send("GET", f"/endpoints?url={made['url']}")).json()["endpoints"]
    assert [entry["id"] for entry in by_url] == [made["id"]]
    anna = api.other_owner()
    assert (await api.send("GET", "/endpoints", key=anna)).json()["endpoints"] == []
    assert (await api.send("DELETE", f"/endpoints/{made['id']}", key=anna)).status_code == 404


async def test_everything_that_is_wrong_with_a_policy_is_told_with_its_place(api: Api) -> None:
    policy = "on_http_request:\n  - expressions: ['req.nothing == 1']\n    actions:\n      - type: custm-response\n"
    answer = await api.send("POST", "/endpoints", cloud(traffic_policy=policy))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "PORTICO_20069")
    lines = answer.json()["details"]["problems"].splitlines()
    assert [line.split(": ")[0] for line in lines] == ["2:20", "4:9"]
    assert "custom-response" in lines[1]
    assert answer.json()["msg"] == "\n".join(f"traffic_policy: {line}" for line in lines)
    assert (await api.send("GET", "/endpoints")).json()["endpoints"] == []


async def test_a_policy_that_nothing_can_come_of_is_refused(api: Api) -> None:
    headers = {"on_http_request": [{"actions": [{"type": "add-headers", "config": {"headers": {"a": "b"}}}]}]}
    for policy in ("", "{}", json.dumps(headers)):
        status, code, message = await problem(api, cloud(traffic_policy=policy))
        assert (status, code) == (400, "PORTICO_20069")
        assert "never ends" in message


async def test_an_action_that_no_edge_carries_out_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_ENFORCED", ("deny",))
    assert (await problem(api, cloud()))[:2] == (400, "PORTICO_20006")


async def test_names_and_bindings_fit_together(api: Api) -> None:
    inside = await api.make("/endpoints", cloud("search.internal"))
    assert (inside["url"], inside["bindings"]) == ("https://search.internal", ["internal"])
    assert (await api.make("/endpoints", cloud("tcp.internal", bindings=["internal"])))["bindings"] == ["internal"]
    assert (await api.make("/endpoints", {**cloud(), "url": "tcp://db.internal:5432"}))[
        "hostport"
    ] == "db.internal:5432"
    for host, binding in (("a.internal", "public"), ("a.example.com", "internal")):
        assert (await problem(api, cloud(host, bindings=[binding])))[:2] == (400, "ERR_NGROK_9029")
    status, code, message = await problem(api, cloud(bindings=["kubernetes"]))
    assert (status, code) == (400, "PORTICO_20006")
    assert "Kubernetes" in message
    assert (await problem(api, cloud(bindings=["public", "internal"])))[:2] == (400, "ERR_NGROK_215")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://"},
        {"url": "ftp://x.test"},
        {"url": "https://api.edge.test"},
        {"url": "tcp://x.test:1"},
        {"url": "https://a b.test"},
        {"type": "agent"},
    ],
)
async def test_wrong_urls_and_types_are_refused(api: Api, wrong: dict[str, object]) -> None:
    assert (await problem(api, {**cloud(), **wrong}))[0] == 400


async def test_one_that_cannot_be_served_leaves_no_trace(api: Api) -> None:
    api.node.refusal = "it is online for another owner"
    refused = await api.send("POST", "/endpoints", cloud(), Idempotency_Key="k")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "ERR_NGROK_334")
    assert (await api.send("GET", "/endpoints")).json()["endpoints"] == []
    assert (await api.send("GET", "/audit_events")).json()["audit_events"] == []
    api.node.refusal = ""
    made = await api.make("/endpoints", cloud(), Idempotency_Key="k")
    api.node.refusal = "no"
    path = f"/endpoints/{made['id']}"
    assert (await api.send("PATCH", path, {"url": "other.example.com", "description": "x"})).status_code == 400
    assert (await api.send("GET", path)).json() == made
    events = (await api.send("GET", "/audit_events")).json()["audit_events"]
    assert [event["action"] for event in events] == ["create"]


async def test_creates_under_one_key_are_served_once(api: Api) -> None:
    answers = await asyncio.gather(*(api.send("POST", "/endpoints", cloud(), Idempotency_Key="k") for _ in range(3)))
    assert len({answer.text for answer in answers}) == 1
    assert len(api.node.told) == 1


async def test_a_change_needs_the_newest_etag(api: Api) -> None:
    made = await api.make("/endpoints", cloud())
    path = f"/endpoints/{made['id']}"
    tag = (await api.send("GET", path)).headers["etag"]
    assert (await api.send("PATCH", path, {"metadata": "1"}, If_Match=tag)).status_code == 200
    assert (await api.send("PATCH", path, {"metadata": "2"}, If_Match=tag)).status_code == 412
    assert (await api.send("DELETE", path, If_Match=tag)).status_code == 412
