"""What an edge goes on doing while its PostgreSQL is away."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.postgres import Postgres
from portico.edge.admission import Admission, for_agents
from portico.edge.policy_reader import PolicyReader
from portico.model.errors import AUTHTOKEN_UNKNOWN, DATABASE_UNUSABLE, EDGE_BUSY, PorticoError
from portico.store.first_start import first_start
from portico.store.store import Store
from portico.store.tables import API

TOKEN = "a-token-of-anna"


@pytest.fixture
def store(tmp_path: Path, postgres: Postgres) -> Iterator[Store]:
    opened = Store.open(tmp_path, postgres.new_database())
    first_start(opened, tmp_path)
    with opened.write() as unit:
        unit.authtokens.add(unit.owners.add("anna", source=API).id, TOKEN, source=API)
    yield opened
    opened.close()


def policy(secret: str, ip_policy: str) -> str:
    answer = {"type": "custom-response", "config": {"body": f"${{secrets.get('v', '{secret}')}}"}}
    restrict = {"type": "restrict-ips", "config": {"ip_policies": [ip_policy]}}
    return json.dumps({"on_http_request": [{"actions": [restrict, answer]}]})


async def test_an_agent_waits_until_it_is_back(store: Store, postgres: Postgres) -> None:
    admission = Admission(store)
    postgres.stop()
    waiting = asyncio.create_task(admission.once_reachable(lambda: admission.admit(TOKEN, ["3"], "", "")))
    await asyncio.to_thread(postgres.start)
    assert (await waiting).owner.name == "anna"
    with pytest.raises(PorticoError) as caught:
        await admission.once_reachable(lambda: admission.admit("another token", ["3"], "", ""))
    assert caught.value.code is AUTHTOKEN_UNKNOWN


async def test_an_agent_is_told_to_come_again_and_not_where_it_is(
    store: Store, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = Admission(store)
    monkeypatch.setattr("portico.edge.admission.PATIENCE_SECONDS", 0.1)
    postgres.stop()
    try:
        with pytest.raises(PorticoError) as caught:
            await admission.once_reachable(lambda: admission.admit(TOKEN, ["3"], "", ""))
    finally:
        postgres.start()
    assert caught.value.code is EDGE_BUSY
    assert str(postgres.port) not in str(caught.value)


def test_agents_are_told_other_refusals_as_they_are() -> None:
    error = PorticoError(AUTHTOKEN_UNKNOWN, "unknown")
    assert for_agents(error) is error


def test_policies_go_on_with_what_they_read_before(store: Store, postgres: Postgres) -> None:
    reader = PolicyReader(store)
    with store.write() as unit:
        anna = unit.owners.find("anna")
        assert anna
        unit.secrets.add(unit.vaults.add(anna.id, "v"), "s", "old value")
        rules = unit.ip_policies.add(anna.id)
        unit.ip_policy_rules.add(rules, "192.0.2.0/24", "allow")
    known = reader.filled(policy("s", rules.id), anna.id)
    assert "old value" in known
    assert "192.0.2.0/24" in known
    postgres.stop()
    try:
        assert reader.filled(policy("s", rules.id), anna.id) == known
        for other, owner in ((policy("t", rules.id), anna.id), (policy("s", rules.id), "own_other")):
            with pytest.raises(PorticoError) as caught:
                reader.filled(other, owner)
            assert caught.value.code is DATABASE_UNUSABLE
        assert reader.filled("{}", anna.id) == "{}"
    finally:
        postgres.start()
    with store.write() as unit:
        secret = unit.secrets.all()[0]
        unit.secrets.change(secret.id, sealed=unit.secrets.seal(secret.id, "new value"))
    assert "new value" in reader.filled(policy("s", rules.id), anna.id)
    assert reader.missing_secrets(policy("t", rules.id), anna.id) == ["v/t"]


def test_only_so_many_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> None:
    monkeypatch.setattr("portico.edge.policy_reader.MOST_KEPT", 1)
    reader = PolicyReader(store)
    first, second = (reader.filled(policy(name, "ipp_x"), "own_x") for name in ("first", "second"))
    assert first != second
    postgres.stop()
    try:
        assert reader.filled(policy("second", "ipp_x"), "own_x") == second
        with pytest.raises(PorticoError):
            reader.filled(policy("first", "ipp_x"), "own_x")
    finally:
        postgres.start()
