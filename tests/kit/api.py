"""The REST API in this process, over a real store and a node that remembers what it was told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from starlette.types import ASGIApp

from portico.api.app import api_app
from portico.api.ports import LiveEndpoint, LiveSession
from portico.edge.naming import Naming
from portico.model.acl import Acl
from portico.model.acme import AutomaticState
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import AGENT_REFUSED, ALREADY_ONLINE, PorticoError
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.first_start import API_KEY_FILE, AUTHTOKEN_FILE, first_start
from portico.store.store import Store

BASE = "https://api.edge.test"


@dataclass
class RememberingNode:
    """What the API sees of an edge; `told` is what it did to it."""

    naming: Naming = field(default_factory=lambda: Naming("edge.test", 443, 80, range(20_000, 20_004)))
    live_sessions: list[LiveSession] = field(default_factory=list)
    live_endpoints: list[LiveEndpoint] = field(default_factory=list)
    online: dict[str, set[str]] = field(default_factory=dict)
    automatic: dict[str, AutomaticState] = field(default_factory=dict)
    refusal: str = ""
    told: list[tuple[object, ...]] = field(default_factory=list)

    @property
    def domain(self) -> str:
        return self.naming.domain

    @property
    def tcp_ports(self) -> range:
        return self.naming.tcp_ports

    def sessions(self) -> list[LiveSession]:
        return self.live_sessions

    def endpoints(self) -> list[LiveEndpoint]:
        return self.live_endpoints

    def holders(self, place: str) -> set[str]:
        return self.online.get(place, set())

    def domain_name(self, host: str) -> str:
        return self.naming.named(Scheme.HTTPS, host).host

    def endpoint_url(self, url: EndpointUrl) -> EndpointUrl:
        return self.naming.asked_for(url)

    async def serve(self, endpoint: CloudEndpoint) -> None:
        if self.refusal:
            raise PorticoError(ALREADY_ONLINE, self.refusal)
        self.told.append(("serve", endpoint.id, endpoint.url.host, endpoint.traffic_policy))

    async def withdraw(self, endpoint: CloudEndpoint) -> None:
        self.told.append(("withdraw", endpoint.id))

    def automatic_certificate(self, host: str) -> AutomaticState | None:
        return self.automatic.get(host)

    async def command(self, session_id: str, command: str) -> None:
        if self.refusal:
            raise PorticoError(AGENT_REFUSED, self.refusal)
        self.told.append((command, session_id))

    async def revoked(self, credential_id: str) -> None:
        self.told.append(("revoked", credential_id))

    async def acl_changed(self, credential_id: str, acl: Acl) -> None:
        self.told.append(("acl", credential_id, acl.rules))

    async def reservations_changed(self) -> None:
        self.told.append(("reservations",))

    async def policy_data_changed(self, owner_id: str, word: str) -> None:
        self.told.append(("policy data", owner_id, word))

    async def certificates_changed(self) -> None:
        self.told.append(("certificates",))


@dataclass
class Api:
    """The API with its store, and a caller who is the operator."""

    store: Store
    node: RememberingNode
    key: str
    authtoken: str

    @cached_property
    def app(self) -> ASGIApp:
        """The application itself."""
        return api_app(self.store, self.node)

    async def send(
        self, method: str, path: str, body: object = None, *, key: str = "", **headers: str
    ) -> httpx.Response:
        """One request with all that a well-behaved caller sends; underscores in `headers` stand for hyphens."""
        sent = {"Authorization": f"Bearer {key or self.key}", "ngrok-version": "2"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.raw(method, path, headers=sent, **({} if body is None else {"json": body}))

    async def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request as it is."""
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, **options)

    async def make(self, path: str, body: object = None, **options: Any) -> dict[str, Any]:
        """Create, and what the API says of it."""
        answer = await self.send("POST", path, body or {}, **options)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def other_owner(self, name: str = "anna") -> str:
        """An API key of an owner who is not the operator."""
        key = f"pak_of_{name}"
        with self.store.write() as unit:
            owner = unit.owners.add(name, source="settings")
            unit.api_keys.add(owner.id, key, source="settings")
        return key

    def owner_id(self, name: str) -> str:
        """Of an owner's name."""
        with self.store.read() as unit:
            owner = unit.owners.find(name)
        assert owner is not None
        return owner.id


@cache
def _first_files() -> dict[str, bytes]:
    """What a first start leaves in its directory: migrating once is enough for all tests of a process."""
    with TemporaryDirectory() as directory:
        store = Store.open(Path(directory))
        first_start(store, Path(directory))
        store.close()
        return {path.name: path.read_bytes() for path in Path(directory).iterdir() if path.is_file()}


@contextmanager
def running_api(directory: Path, database: str | None = None) -> Iterator[Api]:
    """An API over a new store in `directory`, or in a database that is empty."""
    if database is None:
        for name, content in _first_files().items():
            (directory / name).write_bytes(content)
    store = Store.open(directory, database)
    try:
        first_start(store, directory)
        yield Api(
            store,
            RememberingNode(),
            (directory / API_KEY_FILE).read_text().strip(),
            (directory / AUTHTOKEN_FILE).read_text().strip(),
        )
    finally:
        store.close()
