"""What all resources have in common, shown with the simplest ones."""

import asyncio
import logging

import pytest

from kit.api import BASE, Api
from kit.postgres import both_databases

pytestmark = both_databases


async def test_a_resource_is_made_got_changed_and_removed(api: Api) -> None:
    made = await api.make("/api_keys", {"description": "ci", "metadata": "team=x"})
    assert made["uri"] == f"{BASE}/api_keys/{made['id']}"
    assert (made["description"], made["metadata"]) == ("ci", "team=x")
    assert made["created_at"].endswith("Z")
    path = f"/api_keys/{made['id']}"
    got = await api.send("GET", path)
    assert got.json() == {**made, "token": None}
    changed = await api.send("PATCH", path, {"description": "cd"})
    assert changed.json() == {**made, "token": None, "description": "cd"}
    assert (await api.send("DELETE", path)).status_code == 204
    assert (await api.send("GET", path)).json()["error_code"] == "PORTICO_20100"
    assert (await api.send("DELETE", path)).status_code == 404


async def test_lists_are_paged_newest_first_by_full_addresses(api: Api) -> None:
    made = [(await api.make("/credentials", {"description": str(number)}))["id"] for number in range(5)]
    seen, uri, pages = [], "/credentials?limit=2", 0
    while uri:
        page = (await api.send("GET", uri)).json()
        seen += [entry["id"] for entry in page["credentials"]]
        uri, pages = page["next_page_uri"], pages + 1
        assert page["uri"] == f"{BASE}/credentials"
        assert uri is None or uri.startswith(f"{BASE}/credentials?before_id=")
    assert seen[:5] == made[::-1]
    assert (len(seen), pages) == (6, 3)  # with the one of the first start


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "ERR_NGROK_233"),
        ("limit=101", "ERR_NGROK_233"),
        ("limit=many", "ERR_NGROK_233"),
        ("filtr=true", "ERR_NGROK_231"),
        ("limit=5&page=2", "ERR_NGROK_231"),
        ("before_id=%00", "ERR_NGROK_215"),
    ],
)
async def test_wrong_queries_are_refused(api: Api, query: str, code: str) -> None:
    answer = await api.send("GET", f"/api_keys?{query}")
    assert (answer.status_code, answer.json()["error_code"]) == (400, code)


async def test_all_that_is_wrong_with_a_body_is_told_at_once_and_not_repeated(api: Api) -> None:
    body = {"description": "ä" * 200, "metadata": 5, "secret": "hush", "acl": ["x" * 400]}
    answer = await api.send("POST", "/credentials", body)
    problem = answer.json()
    assert (answer.status_code, problem["error_code"]) == (400, "ERR_NGROK_215")
    lines = dict(line.split(": ", 1) for line in problem["msg"].splitlines())
    assert set(lines) == {"description", "metadata", "secret", "acl.0"}
    assert "400 bytes" in lines["description"]
    assert "hush" not in answer.text


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/users", '"email": "a@b.test", "name"'),
        ("/users", '"email": "a@b.test", "name": "anna", "owner_id"'),
        ("/vault_secrets", '"name": "s", "vault_name": "v", "value"'),
        ("/vault_secrets", '"name": "s", "value": "x", "vault_name"'),
        ("/reserved_domains", '"domain": "x.test", "certificate_id"'),
        ("/ip_policy_rules", '"cidr": "192.0.2.0/24", "action": "allow", "ip_policy_id"'),
        ("/credentials", '"description"'),
    ],
)
async def test_half_of_a_surrogate_pair_is_no_text(api: Api, path: str, field: str) -> None:
    await api.make("/vaults", {"name": "v"})
    headers = {"Authorization": f"Bearer {api.key}", "ngrok-version": "2", "Content-Type": "application/json"}
    answer = await api.raw("POST", path, headers=headers, content="{" + field + r': "\ud800"}')
    problem = answer.json()
    assert (answer.status_code, problem["error_code"]) == (400, "ERR_NGROK_215")
    name = field.rpartition(" ")[2].strip('"')
    assert problem["msg"] == f"{name}: it contains half of a surrogate pair"


async def test_a_body_that_is_missing_is_called_by_its_name(api: Api) -> None:
    answer = await api.send("POST", "/users")
    assert (answer.status_code, answer.json()["msg"]) == (400, "the body: field required")


async def test_unknown_fields_alone_have_their_own_code(api: Api) -> None:
    answer = await api.send("POST", "/api_keys", {"descripton": "x"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ERR_NGROK_214")


async def test_if_match_protects_changes_of_others(api: Api) -> None:
    made = await api.make("/api_keys")
    path = f"/api_keys/{made['id']}"
    first = (await api.send("GET", path)).headers["etag"]
    changed = await api.send("PATCH", path, {"description": "mine"}, If_Match=first)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first
    refused = await api.send("PATCH", path, {"description": "theirs"}, If_Match=first)
    assert (refused.status_code, refused.json()["error_code"]) == (412, "PORTICO_20104")
    assert (await api.send("DELETE", path, If_Match=f"W/{first}")).status_code == 412
    assert (await api.send("GET", path)).json()["description"] == "mine"
    assert (await api.send("DELETE", path, If_Match=f'"other", {changed.headers["etag"]}')).status_code == 204


async def test_a_create_under_a_known_key_is_answered_again_with_its_token(api: Api) -> None:
    body = {"description": "once"}
    answers = await asyncio.gather(*(api.send("POST", "/credentials", body, Idempotency_Key="k1") for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    token = answers[0].json()["token"]
    assert token.startswith("pt_")
    with api.store.read() as unit:
        assert len(unit.authtokens.all()) == 2
        stored = unit.session.connection().exec_driver_sql("SELECT sealed FROM idempotency_keys").scalar_one()
    assert token.encode() not in stored


async def test_a_known_key_with_another_request_is_refused_and_another_caller_has_his_own(api: Api) -> None:
    await api.make("/credentials", {"description": "a"}, Idempotency_Key="k1")
    for path, body in (("/credentials", {"description": "b"}), ("/api_keys", {"description": "a"})):
        answer = await api.send("POST", path, body, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["error_code"]) == (422, "PORTICO_20105")
    other = await api.make("/credentials", {"description": "a"}, Idempotency_Key="k1", key=api.other_owner())
    assert other["owner_id"] == api.owner_id("anna")


async def test_owners_see_their_own_and_the_operator_everything(api: Api) -> None:
    anna = api.other_owner()
    hers = await api.make("/credentials", {"description": "hers"}, key=anna)
    mine = await api.make("/credentials", {"description": "mine"})
    listed = (await api.send("GET", "/credentials", key=anna)).json()["credentials"]
    assert [entry["id"] for entry in listed] == [hers["id"]]
    for method in ("GET", "PATCH", "DELETE"):
        body = {"description": "x"} if method == "PATCH" else None
        assert (await api.send(method, f"/credentials/{mine['id']}", body, key=anna)).status_code == 404
    assert (await api.send("GET", f"/credentials/{hers['id']}")).status_code == 200


async def test_only_the_operator_makes_things_for_others(api: Api) -> None:
    anna = api.other_owner()
    made = await api.make("/api_keys", {"owner_id": "anna"})
    assert made["owner_id"] == api.owner_id("anna")
    refused = await api.send("POST", "/api_keys", {"owner_id": "default"}, key=anna)
    assert (refused.status_code, refused.json()["error_code"]) == (403, "PORTICO_20102")
    unknown = await api.send("POST", "/api_keys", {"owner_id": "nobody"})
    assert (unknown.status_code, unknown.json()["error_code"]) == (400, "ERR_NGROK_215")


async def test_every_change_is_in_the_audit_log_and_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "portico.api")
    made = await api.make("/credentials", {"description": "secret purpose"})
    await api.send("PATCH", f"/credentials/{made['id']}", {"metadata": "x"})
    await api.send("DELETE", f"/credentials/{made['id']}")
    await api.send("POST", "/credentials", {"nonsense": 1})
    events = (await api.send("GET", "/audit_events")).json()["audit_events"]
    assert [(event["action"], event["resource_id"], event["fields_set"]) for event in events] == [
        ("delete", made["id"], []),
        ("update", made["id"], ["metadata"]),
        ("create", made["id"], ["description"]),
    ]
    assert [record.action for record in caplog.records if record.message == "api change"] == [
        "create",
        "update",
        "delete",
    ]
    assert made["token"] not in caplog.text
    one = (await api.send("GET", f"/audit_events/{events[0]['id']}")).json()
    assert one == events[0]
    assert (await api.send("GET", f"/audit_events/{events[0]['id']}", key=api.other_owner())).status_code == 404


async def test_what_the_settings_file_declares_is_changed_there(api: Api) -> None:
    with api.store.write() as unit:
        declared = unit.authtokens.add(api.owner_id("default"), "pt_declared_token", source="settings")
    answer = await api.send("DELETE", f"/credentials/{declared.id}")
    assert (answer.status_code, answer.json()["error_code"]) == (409, "PORTICO_20106")


async def test_a_fault_of_ours_is_answered_without_its_details(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.api.api_keys.new_api_key", lambda: 1 / 0)
    answer = await api.send("POST", "/api_keys", {})
    assert (answer.status_code, answer.json()["error_code"]) == (500, "PORTICO_20108")
    assert "division" not in answer.text
