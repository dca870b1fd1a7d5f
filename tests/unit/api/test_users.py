"""Users and their roles: who sees what, who may change what, and what ends with whom."""

from datetime import UTC, datetime
from itertools import count

import pytest

from kit.api import Api
from kit.postgres import both_databases
from portico.api.ports import LiveEndpoint, LiveSession
from portico.model.endpoint import EndpointUrl

pytestmark = both_databases

_NUMBERS = count()


async def user(api: Api, role: str, **options: str) -> tuple[str, str]:
    """Id and API key of a new user."""
    body = {"name": "Ann", "email": f"Ann{next(_NUMBERS)}@Example.com", "role": role}
    made = await api.make("/users", body, **options)
    key = await api.make("/api_keys", {"owner_id": made["id"]}, **options)
    assert key["user_id"] == made["id"]
    return made["id"], key["token"]


async def ids(api: Api, resource: str, key: str, field: str = "") -> list[str]:
    answer = await api.send("GET", f"/{resource}", key=key)
    assert answer.status_code == 200
    return [entry["id"] for entry in answer.json()[field or resource]]


async def test_a_user_is_made_changed_and_unique_by_address(api: Api) -> None:
    body = {"name": "Ann", "email": "Ann@Example.com", "role": "viewer", "description": "d"}
    made = await api.make("/users", body)
    assert (made["email"], made["role"], made["owner_id"]) == ("ann@example.com", "viewer", api.owner_id("default"))
    assert (await api.send("POST", "/users", {**body, "email": "ANN@example.com"})).status_code == 409
    other = await api.make("/users", {**body, "email": "bo@example.com"})
    assert (await api.send("PATCH", f"/users/{other['id']}", {"email": "ann@example.com"})).status_code == 409
    changed = await api.send("PATCH", f"/users/{made['id']}", {"role": "admin", "name": "Anna"})
    assert changed.json() == {**made, "role": "admin", "name": "Anna"}
    await api.make("/users", body, key=api.other_owner())  # of another owner
    for wrong in ({"email": "nobody"}, {"email": "a b@c"}, {"role": "root"}, {"name": ""}):
        assert (await api.send("POST", "/users", {**body, **wrong})).status_code == 400


async def test_a_viewer_sees_everything_and_changes_nothing(api: Api) -> None:
    made = await api.make("/ip_policies")
    ident, key = await user(api, "viewer")
    assert await ids(api, "ip_policies", key) == [made["id"]]
    for method, path in (
        ("POST", "/ip_policies"),
        ("PATCH", f"/ip_policies/{made['id']}"),
        ("DELETE", f"/ip_policies/{made['id']}"),
        ("PATCH", f"/users/{ident}"),
        ("POST", "/tunnel_sessions/ts_1/stop"),
        ("POST", "/api_keys"),
    ):
        answer = await api.send(method, path, {} if method != "DELETE" else None, key=key)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PORTICO_20102"), path


async def test_a_member_sees_and_changes_what_he_made(api: Api) -> None:
    await api.make("/ip_policies")
    ident, key = await user(api, "member")
    _, second = await user(api, "member")
    mine = await api.make("/ip_policies", key=key)
    theirs = await api.make("/ip_policies", key=second)
    assert await ids(api, "ip_policies", key) == [mine["id"]]
    path = f"/ip_policies/{theirs['id']}"
    for method, body in (("GET", None), ("PATCH", {"metadata": "x"}), ("DELETE", None)):
        assert (await api.send(method, path, body, key=key)).status_code == 404
    assert (await api.send("DELETE", f"/ip_policies/{mine['id']}", key=key)).status_code == 204
    assert await ids(api, "users", key) == [ident]
    assert (await api.send("PATCH", f"/users/{ident}", {"role": "admin"}, key=key)).status_code == 403
    assert (await api.send("POST", "/users", {"name": "x", "email": "x@y"}, key=key)).status_code == 403


async def test_a_member_cannot_act_for_others_nor_make_keys_that_see_more(api: Api) -> None:
    admin, _ = await user(api, "admin")
    ident, key = await user(api, "member")
    api.other_owner()
    for wanted in (admin, "anna"):
        assert (await api.send("POST", "/api_keys", {"owner_id": wanted}, key=key)).status_code == 403
    for wanted in ("default", api.owner_id("default"), ident, ""):
        made = await api.make("/api_keys", {"owner_id": wanted}, key=key)
        assert made["user_id"] == ident


async def test_what_is_live_is_a_members_own_by_his_credentials(api: Api) -> None:
    ident, key = await user(api, "member")
    own = (await api.make("/credentials", {}, key=key))["id"]
    owner, now, url = api.owner_id("default"), datetime.now(UTC), EndpointUrl.parse("https://x.test")
    for number, credential in enumerate((own, "cr_other")):
        session = LiveSession(f"s{number}", owner, credential, "192.0.2.1:1", "3", "linux", "", "ngrok/v2", now)
        api.node.live_sessions.append(session)
        endpoint = LiveEndpoint(f"b{number}", session.id, owner, url, now, credential_id=credential)
        api.node.live_endpoints.append(endpoint)
    for resource, prefix in (("endpoints", "ep_b"), ("tunnels", "tn_b"), ("tunnel_sessions", "ts_s")):
        assert await ids(api, resource, key) == [f"{prefix}0"]
        assert (await api.send("GET", f"/{resource}/{prefix}1", key=key)).status_code == 404
    assert (await api.send("POST", "/tunnel_sessions/ts_s1/stop", key=key)).status_code == 404
    assert ident.startswith("usr_")


@pytest.mark.parametrize("owner", ["default", "anna"])
async def test_an_admin_has_all_of_his_owner(api: Api, owner: str) -> None:
    anna = api.other_owner()
    of_owner = {"key": anna} if owner == "anna" else {}
    _, admin = await user(api, "admin", **of_owner)
    _, member = await user(api, "member", key=admin)
    made = await api.make("/ip_policies", key=member)
    assert made["id"] in await ids(api, "ip_policies", admin)
    assert (await api.send("DELETE", f"/ip_policies/{made['id']}", key=admin)).status_code == 204
    others = await api.make("/ip_policies", key=anna if owner == "default" else api.key)
    assert (others["id"] in await ids(api, "ip_policies", admin)) is (owner == "default")


async def test_the_audit_log_names_the_user(api: Api) -> None:
    ident, key = await user(api, "member")
    await api.make("/ip_policies", {"description": "d"}, key=key)
    (event,) = (await api.send("GET", "/audit_events", key=key)).json()["audit_events"]
    assert (event["user_id"], event["owner_id"], event["action"]) == (ident, api.owner_id("default"), "create")
    everything = (await api.send("GET", "/audit_events")).json()["audit_events"]
    assert [one["user_id"] for one in everything] == [ident, None, None]


async def test_keys_and_tokens_end_with_their_user_and_other_things_stay(api: Api) -> None:
    ident, key = await user(api, "member")
    token = await api.make("/credentials", {}, key=key)
    policy = await api.make("/ip_policies", {}, key=key)
    api.node.told.clear()
    assert (await api.send("DELETE", f"/users/{ident}")).status_code == 204
    assert ("revoked", token["id"]) in api.node.told
    assert (await api.send("GET", "/ip_policies", key=key)).json()["error_code"] == "ERR_NGROK_203"
    assert (await api.send("GET", f"/credentials/{token['id']}")).status_code == 404
    assert (await api.send("GET", f"/ip_policies/{policy['id']}")).status_code == 200


async def test_a_new_role_holds_from_the_next_request_on(api: Api) -> None:
    ident, key = await user(api, "member")
    await api.make("/ip_policies", key=key)
    await api.send("PATCH", f"/users/{ident}", {"role": "viewer"})
    assert (await api.send("POST", "/ip_policies", {}, key=key)).status_code == 403
