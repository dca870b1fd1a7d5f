"""What another node's change leads to here; two whole nodes are in tests/features/test_shared_database.py."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kit.polling import PATIENCE
from portico.api.resource import StoredResource
from portico.api.resources import RESOURCES
from portico.edge.cloud import Cloud
from portico.edge.live import Live
from portico.edge.naming import Naming
from portico.edge.other_nodes import EFFECTS, OtherNodes
from portico.edge.registry import Limits, Registry, Session
from portico.model.acl import Acl
from portico.model.endpoint import EndpointUrl, TlsVersion
from portico.model.errors import ALREADY_ONLINE, DATABASE_UNUSABLE, PorticoError
from portico.model.owner import Owner
from portico.store.changes import SETTINGS_APPLIED, RecordChange, pack, unpack
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.store import Store
from portico.store.tables import API

ANSWER = "on_http_request:\n  - actions:\n      - type: deny\n"


class RememberingLive:
    """Does to a real registry what `Live` does, and remembers it."""

    def __init__(self, cloud: Cloud) -> None:
        self.told: list[tuple[object, ...]] = []
        self.refusals = 0
        self.failures: list[PorticoError] = []
        self._cloud = cloud

    async def serve(self, endpoint: CloudEndpoint) -> None:
        self.told.append(("serve", endpoint.id))
        if self.refusals:
            self.refusals -= 1
            raise PorticoError(ALREADY_ONLINE, "an agent has it")
        self._cloud.put(endpoint, self._cloud.request(endpoint))
        self.told.append(("served", endpoint.id))

    async def withdraw(self, endpoint: CloudEndpoint) -> None:
        self.told.append(("withdraw", endpoint.id))
        self._cloud.take(endpoint)

    async def revoked(self, credential: str) -> None:
        self.told.append(("revoked", credential))

    async def acl_changed(self, credential: str, acl: Acl) -> None:
        self.told.append(("acl", credential, acl.rules))

    async def reservations_changed(self) -> None:
        if self.failures:
            raise self.failures.pop()
        self.told.append(("reservations",))

    async def policy_data_changed(self, owner: str, word: str) -> None:
        self.told.append(("policies", owner, word))

    async def refresh(self, urls: list[EndpointUrl]) -> None:
        self.told += [("refresh", str(url)) for url in urls]


class Here:
    """This node, with others whose changes the test puts in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.registry = Registry(Naming("edge.test", 8443, 8080, range(20_000, 20_010)), Limits(5, 5))
        self.cloud = Cloud(self.registry, store, TlsVersion.TLS_1_2)
        self.live = RememberingLive(self.cloud)
        self.told: asyncio.Queue[RecordChange | None] = asyncio.Queue()

    def changes(self) -> AsyncGenerator[RecordChange | None]:
        async def told() -> AsyncGenerator[RecordChange | None]:
            while True:
                yield await self.told.get()

        return told()

    def read(self) -> Any:
        return self.store.read()

    async def after(self, *changes: RecordChange | None, last: tuple[object, ...]) -> list[tuple[object, ...]]:
        """What it did by these changes, up to `last`."""
        for change in changes:
            self.told.put_nowait(change)
        nodes = OtherNodes(cast("Store", self), self.registry, self.cloud, cast("Live", self.live))
        work = asyncio.create_task(nodes.run())
        async with asyncio.timeout(PATIENCE):
            while last not in self.live.told:
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return self.live.told


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    store = Store.open(tmp_path)
    yield Here(store)
    store.close()


@pytest.fixture
def anna(here: Here) -> Owner:
    with here.store.write() as unit:
        return unit.owners.add("anna", source=API)


def kept(here: Here, owner: Owner, host: str) -> CloudEndpoint:
    with here.store.write() as unit:
        return unit.cloud_endpoints.add(owner.id, EndpointUrl.parse(f"https://{host}"), ANSWER)


def change(resource: str, ident: str = "x", owner: str = "own") -> RecordChange:
    return RecordChange(resource, ident, owner)


END = change("reserved_addrs")


def test_every_stored_resource_has_an_effect_or_a_reason_not_to() -> None:
    stored = {resource.name for resource in RESOURCES if isinstance(resource, StoredResource)}
    # Each request looks API keys up; authors copy authorities into their policies; rules tell of their policy.
    without = {"api_keys", "certificate_authorities", "ip_policy_rules"}
    assert set(EFFECTS) == stored - without


async def test_policies_are_published_with_what_has_changed(here: Here) -> None:
    told = await here.after(
        change("ip_policies", "ipp_1"), change("vaults"), change("vault_secrets"), END, last=("reservations",)
    )
    assert told == [("policies", "own", "ipp_1"), ("policies", "own", "secrets.get"), ("reservations",)]


async def test_what_is_the_same_is_done_once_and_what_has_no_effect_never(here: Here) -> None:
    changes = [change("reserved_domains"), change("api_keys"), change("of the future"), END, change("tls_certificates")]
    assert await here.after(*changes, last=("reservations",)) == [("reservations",)]


async def test_sessions_of_revoked_credentials_end_and_the_others_get_their_rules(here: Here, anna: Owner) -> None:
    with here.store.write() as unit:
        token = unit.authtokens.add(anna.id, "token-of-anna", source=API)
        unit.authtokens.change(token.id, acl=["bind:a.example"])
    for number, credential in enumerate((token.id, "cr_gone")):
        here.registry.add_session(Session(f"s{number}", "r0", f"c{number}", 0, anna, "", credential=credential))
    told = await here.after(change("users"), change("credentials"), END, last=("reservations",))
    assert sorted(told) == [("acl", token.id, ("bind:a.example",)), ("reservations",), ("revoked", "cr_gone")]


async def test_cloud_endpoints_are_served_as_the_store_has_them(here: Here, anna: Owner) -> None:
    gone, stays, new = (kept(here, anna, f"{name}.example") for name in ("gone", "stays", "new"))
    for endpoint in (gone, stays):
        here.cloud.put(endpoint, here.cloud.request(endpoint))
    with here.store.write() as unit:
        unit.cloud_endpoints.remove(gone.id)
    told = await here.after(*(change("endpoints", one.id) for one in (gone, stays, new)), END, last=("reservations",))
    assert told == [("withdraw", gone.id), ("serve", new.id), ("served", new.id), ("reservations",)]
    assert {url.host for url in here.registry.urls} == {"stays.example", "new.example"}


async def test_one_that_cannot_be_served_here_is_no_hindrance(here: Here, anna: Owner) -> None:
    endpoint = kept(here, anna, "taken.example")
    here.live.refusals = 1
    told = await here.after(change("endpoints", endpoint.id), END, last=("reservations",))
    assert told == [("serve", endpoint.id), ("reservations",)]


async def test_it_is_tried_again_until_it_can_be(
    here: Here, anna: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("portico.edge.other_nodes._REFUSED_SECONDS", 0.01)
    taken, gone = (kept(here, anna, f"{name}.example") for name in ("taken", "gone"))
    here.live.refusals = 9
    told = here.after(*(change("endpoints", one.id) for one in (taken, gone)), last=("served", taken.id))
    work = asyncio.create_task(told)
    while here.live.refusals > 5:
        await asyncio.sleep(0.001)
    with here.store.write() as unit:
        unit.cloud_endpoints.remove(gone.id)
    await work
    assert [url.host for url in here.registry.urls] == ["taken.example"]
    refused = [record for record in caplog.records if "is not served here" in record.message]
    assert len(refused) == 2


@pytest.mark.parametrize("told", [None, change(SETTINGS_APPLIED, "", "")])
async def test_where_anything_may_have_changed_all_is_looked_at(
    here: Here, anna: Owner, told: RecordChange | None
) -> None:
    endpoint = kept(here, anna, "new.example")
    done = await here.after(told, last=("serve", endpoint.id))
    assert done[:2] == [("reservations",), ("serve", endpoint.id)]


async def test_what_the_store_could_not_say_is_asked_again(here: Here) -> None:
    here.live.failures = [PorticoError(DATABASE_UNUSABLE, "it is away")]
    assert await here.after(END, last=("reservations",)) == [("reservations",)]


async def test_a_file_is_shared_with_nobody(here: Here) -> None:
    await OtherNodes(here.store, here.registry, here.cloud, cast("Live", here.live)).run()
    assert here.live.told == []


def test_a_payload_is_read_back() -> None:
    assert unpack(pack("node", END)) == ("node", END)
    assert unpack('["node", "a", "b", 1]') is None
