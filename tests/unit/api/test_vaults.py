import logging
from pathlib import Path

import pytest

from kit.api import BASE, Api, running_api
from portico.model.errors import STORE_UNUSABLE, PorticoError
from portico.store.sealing import KEY_FILE
from portico.store.store import Store

HUSH = "hush-hush-4711"


async def vault(api: Api, name: str = "v", **options: str) -> str:
    ident: str = (await api.make("/vaults", {"name": name}, **options))["id"]
    return ident


def value(api: Api, name: str = "s", owner: str = "default", vault_name: str = "v") -> str | None:
    with api.store.read() as unit:
        return unit.secrets.value(api.owner_id(owner), vault_name, name)


async def test_a_value_goes_in_and_never_out(api: Api, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"name": "s", "value": HUSH, "vault_id": await vault(api), "description": "d"}
    answers = [await api.send("POST", "/vault_secrets", body, Idempotency_Key="k") for _ in range(2)]
    made = answers[0].json()
    path = f"/vault_secrets/{made['id']}"
    answers += [await api.send("GET", path), await api.send("GET", "/vault_secrets")]
    answers.append(await api.send("PATCH", path, {"value": HUSH * 2, "metadata": "m"}))
    answers += [await api.send("POST", "/vault_secrets", body), await api.send("GET", "/audit_events")]
    answers.append(await api.send("POST", "/vault_secrets", {**body, "vault_id": 5}))
    assert [answer.status_code for answer in answers] == [201, 201, 200, 200, 200, 409, 200, 400]
    assert HUSH not in caplog.text + "".join(answer.text for answer in answers)
    assert value(api) == HUSH * 2
    assert all(HUSH.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"name": ""}, "name: string should have at least 1 character"),
        ({"name": "v", "metadata": "x" * 5_000}, "metadata: string should have at most 4096 characters"),
    ],
)
async def test_a_text_of_a_wrong_length_is_told_so(api: Api, field: dict[str, str], words: str) -> None:
    answer = await api.send("POST", "/vaults", field)
    assert (answer.status_code, answer.json()["msg"]) == (400, words)


async def test_a_secret_is_shown_with_its_vault(api: Api) -> None:
    ident = await vault(api)
    made = await api.make("/vault_secrets", {"name": "s", "value": "x", "vault_name": "v"})
    assert made["vault"] == {"id": ident, "uri": f"{BASE}/vaults/{ident}"}
    assert (made["vault_name"], made["created_by"]["id"]) == ("v", api.owner_id("default"))
    second = await api.make("/vault_secrets", {"name": "t", "value": "y", "vault_id": ident})
    await api.make("/vault_secrets", {"name": "s", "value": "z", "vault_id": await vault(api, "w")})
    within = (await api.send("GET", f"/vaults/{ident}/secrets?limit=1")).json()
    rest = (await api.send("GET", within["next_page_uri"])).json()
    assert [entry["id"] for entry in (*within["secrets"], *rest["secrets"])] == [second["id"], made["id"]]
    assert (await api.send("GET", "/vaults/vault_none/secrets")).status_code == 404
    assert len((await api.send("GET", "/vault_secrets")).json()["secrets"]) == 3


async def test_policies_hear_of_every_change(api: Api) -> None:
    ident = await vault(api)
    made = await api.make("/vault_secrets", {"name": "s", "value": "x", "vault_id": ident})
    await api.send("PATCH", f"/vault_secrets/{made['id']}", {"name": "new"})
    await api.send("PATCH", f"/vaults/{ident}", {"name": "renamed"})
    assert (value(api), value(api, "new", vault_name="renamed")) == (None, "x")
    await api.send("DELETE", f"/vault_secrets/{made['id']}")
    assert api.node.told == [("policy data", api.owner_id("default"), "secrets.get")] * 4


async def test_names_are_free_or_refused(api: Api) -> None:
    ident = await vault(api)
    other = await vault(api, "w")
    made = await api.make("/vault_secrets", {"name": "s", "value": "x", "vault_id": ident})
    await api.make("/vault_secrets", {"name": "t", "value": "x", "vault_id": ident})
    for method, path, body in (
        ("POST", "/vaults", {"name": "v"}),
        ("PATCH", f"/vaults/{other}", {"name": "v"}),
        ("POST", "/vault_secrets", {"name": "s", "value": "x", "vault_id": ident}),
        ("PATCH", f"/vault_secrets/{made['id']}", {"name": "t"}),
        ("DELETE", f"/vaults/{ident}", None),
    ):
        assert (await api.send(method, path, body)).status_code == 409
    assert (await api.send("DELETE", f"/vaults/{other}")).status_code == 204


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"value": ""},
        {"vault_name": "none"},
        {"vault_id": "vault_1", "vault_name": "v"},
        {},
    ],
)
async def test_wrong_secrets_are_refused(api: Api, wrong: dict[str, str]) -> None:
    await vault(api)
    assert (await api.send("POST", "/vault_secrets", {"name": "s", "value": "x", **wrong})).status_code == 400


async def test_owners_do_not_reach_each_others_vaults(api: Api) -> None:
    anna = api.other_owner()
    ident = await vault(api)
    await vault(api, "v", key=anna)
    body = {"name": "s", "value": "x", "vault_id": ident}
    assert (await api.send("POST", "/vault_secrets", body, key=anna)).status_code == 400
    assert (await api.send("GET", f"/vaults/{ident}/secrets", key=anna)).status_code == 404
    await api.make("/vault_secrets", {"name": "s", "value": "hers", "vault_name": "v"}, key=anna)
    assert (value(api), value(api, owner="anna")) == (None, "hers")


async def test_a_seal_holds_for_its_own_row_and_with_its_own_key(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        ident = await vault(api)
        for name in ("s", "t"):
            await api.make("/vault_secrets", {"name": name, "value": name, "vault_id": ident})
        with api.store.write() as unit:
            connection = unit.session.connection()
            connection.exec_driver_sql("UPDATE secrets SET sealed=(SELECT sealed FROM secrets WHERE name='t')")
        assert value(api, "t") == "t"
        with pytest.raises(PorticoError, check=lambda error: error.code is STORE_UNUSABLE):
            value(api, "s")
    key = tmp_path / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    for content in ("00" * 32, "no key", None):
        key.unlink(missing_ok=True)
        if content is not None:
            key.write_text(content)
        store = Store.open(tmp_path)
        with store.read() as unit, pytest.raises(PorticoError, match=KEY_FILE):
            unit.secrets.value(unit.owners.all()[0].id, "v", "t")
        store.close()
