from datetime import UTC, datetime

import pytest

from kit.api import BASE, Api
from portico.api.ports import LiveEndpoint, LiveSession
from portico.model.endpoint import EndpointUrl

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _live(api: Api) -> None:
    api.other_owner()
    for number, owner in enumerate(("anna", "default", "anna")):
        ident = api.owner_id(owner)
        session = LiveSession(f"s{number}", ident, "cr_1", "[2001:db8::1]:4000", "3.1", "linux", "m", "ngrok/v2", START)
        url = EndpointUrl.parse(f"https://app{number}.example.com")
        endpoint = LiveEndpoint(
            f"b{number}", session.id, ident, url, START, forwards_to="http://localhost:80", upstream_protocol="http1"
        )
        api.node.live_sessions.append(session)
        api.node.live_endpoints.append(endpoint)


async def test_endpoints_are_shown_with_what_they_belong_to(api: Api) -> None:
    endpoint = (await api.send("GET", "/endpoints/ep_b1")).json()
    assert endpoint["url"] == endpoint["public_url"] == "https://app1.example.com"
    assert (endpoint["hostport"], endpoint["port"], endpoint["scheme"]) == ("app1.example.com:443", 443, "https")
    assert endpoint["tunnel_session"] == {"id": "ts_s1", "uri": f"{BASE}/tunnel_sessions/ts_s1"}
    assert endpoint["upstream_protocol"] == "http1"
    tunnel = (await api.send("GET", "/tunnels/tn_b1")).json()
    assert tunnel["endpoint"] == {"id": "ep_b1", "uri": endpoint["uri"]}
    assert tunnel["forwards_to"] == endpoint["upstream_url"] == "http://localhost:80"


async def test_lists_are_paged_and_chosen_by_id_and_url(api: Api) -> None:
    first = (await api.send("GET", "/endpoints?limit=2")).json()
    assert [entry["id"] for entry in first["endpoints"]] == ["ep_b2", "ep_b1"]
    second = (await api.send("GET", first["next_page_uri"])).json()
    assert ([entry["id"] for entry in second["endpoints"]], second["next_page_uri"]) == (["ep_b0"], None)
    by_url = (await api.send("GET", "/endpoints?url=https://app0.example.com&url=https://app2.example.com")).json()
    assert [entry["id"] for entry in by_url["endpoints"]] == ["ep_b2", "ep_b0"]
    by_id = (await api.send("GET", "/endpoints?id=ep_b1")).json()
    assert [entry["id"] for entry in by_id["endpoints"]] == ["ep_b1"]


async def test_owners_see_what_is_their_own(api: Api) -> None:
    key = "pak_of_anna"
    for path, field in (("endpoints", "ep_b"), ("tunnels", "tn_b"), ("tunnel_sessions", "ts_s")):
        listed = (await api.send("GET", f"/{path}", key=key)).json()[path]
        assert [entry["id"] for entry in listed] == [f"{field}2", f"{field}0"]
        assert (await api.send("GET", f"/{path}/{field}1", key=key)).status_code == 404
    assert (await api.send("POST", "/tunnel_sessions/ts_s1/stop", key=key)).status_code == 404


async def test_sessions_are_shown_and_told_what_to_do(api: Api) -> None:
    session = (await api.send("GET", "/tunnel_sessions/ts_s0")).json()
    assert (session["ip"], session["started_at"]) == ("2001:db8::1", "2026-11-21T12:00:00Z")
    assert session["credential"] == {"id": "cr_1", "uri": f"{BASE}/credentials/cr_1"}
    for command in ("stop", "restart", "update"):
        answer = await api.send("POST", f"/tunnel_sessions/ts_s0/{command}", {"id": "ts_s0"})
        assert (answer.status_code, answer.json()) == (200, {})
    assert api.node.told == [("stop", "s0"), ("restart", "s0"), ("update", "s0")]
    events = (await api.send("GET", "/audit_events")).json()["audit_events"]
    assert [event["action"] for event in events] == ["update", "restart", "stop"]


async def test_an_agents_refusal_is_told_and_leaves_no_trace(api: Api) -> None:
    api.node.refusal = "the agent did not stop: it may not"
    answer = await api.send("POST", "/tunnel_sessions/ts_s0/stop")
    assert (answer.status_code, answer.json()["msg"]) == (409, api.node.refusal)
    assert (await api.send("GET", "/audit_events")).json()["audit_events"] == []


async def test_what_is_live_cannot_be_made_by_hand(api: Api) -> None:
    assert (await api.send("POST", "/tunnels", {})).status_code == 405
    assert (await api.send("DELETE", "/tunnels/tn_b0")).status_code == 405
    for method, body in (("PATCH", {"description": "x"}), ("DELETE", None)):
        answer = await api.send(method, "/endpoints/ep_b0", body)
        assert (answer.status_code, answer.json()["error_code"]) == (409, "PORTICO_20111")
        assert "comes from an agent" in answer.json()["msg"]
