"""What other nodes that share the store change takes effect here, the same as if our own API had changed it.

A notification says which record, the store says what it is now; so one that is late, or comes twice, does no harm.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from portico.api.credentials import CredentialResource
from portico.api.endpoints import EndpointResource
from portico.api.ip_policies import IpPolicyResource
from portico.api.reserved_addrs import ReservedAddrResource
from portico.api.reserved_domains import ReservedDomainResource
from portico.api.ssh_credentials import SshCredentialResource
from portico.api.tls_certificates import TlsCertificateResource
from portico.api.users import UserResource
from portico.api.vaults import READER, SecretResource, VaultResource
from portico.edge.cloud import Cloud
from portico.edge.live import Live
from portico.edge.policy_data import reads_data
from portico.edge.registry import Registry
from portico.model.acl import Acl
from portico.model.errors import PorticoError
from portico.store.changes import SETTINGS_APPLIED, RecordChange
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.store import Store

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
_REFUSED_SECONDS: Final = 5.0
"""How often a cloud endpoint is tried again that a rule forbade here, such as while an agent has its URL."""
_VAULTS: Final = (VaultResource.name, SecretResource.name)
EFFECTS: Final = {
    **dict.fromkeys((UserResource.name, CredentialResource.name, SshCredentialResource.name), "credentials"),
    **dict.fromkeys((ReservedDomainResource.name, ReservedAddrResource.name), "reservations"),
    TlsCertificateResource.name: "reservations",
    EndpointResource.name: "endpoints",
    **dict.fromkeys((IpPolicyResource.name, *_VAULTS), "policies"),
}
"""What the change of a resource has an effect on. API keys are not here, for each request looks them up."""


class OtherNodes:
    """Follows them until it is cancelled."""

    def __init__(self, store: Store, registry: Registry, cloud: Cloud, live: Live) -> None:
        self._store = store
        self._registry = registry
        self._cloud = cloud
        self._live = live
        self._due: dict[RecordChange | None, None] = {}
        self._told = asyncio.Event()
        self._refused: set[str] = set()
        """Ids of cloud endpoints that are not served here."""
        self._effects: dict[str, Callable[..., Awaitable[None]]] = {
            "credentials": self._follow_credentials,
            "reservations": live.reservations_changed,
            "endpoints": self._follow_endpoints,
            "policies": live.policy_data_changed,
        }

    async def run(self) -> None:
        """Returns at once where the store is shared with nobody."""
        work = asyncio.create_task(self._work(), name="changes of other nodes")
        try:
            async with contextlib.aclosing(self._store.changes()) as changes:
                async for change in changes:
                    self._due[change] = None
                    self._told.set()
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _work(self) -> None:
        while True:
            await self._news()
            due, self._due = list(self._due), {}
            try:
                if due:
                    await self._follow(due)
                else:
                    await self._follow_endpoints(*self._refused)
            except PorticoError as error:  # of the store: what is due stays due
                log.warning("changes of other nodes wait", extra={"reason": error.message})
                self._due = dict.fromkeys([*due, *self._due])
                await asyncio.sleep(_RETRY_SECONDS)
                self._told.set()
            except Exception:
                log.exception("changes of other nodes are not followed", extra={"changes": len(due)})

    async def _news(self) -> None:
        """Returns once something is due, or what is refused may be so no more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REFUSED_SECONDS if self._refused else None):
                await self._told.wait()
        self._told.clear()

    async def _follow(self, due: Collection[RecordChange | None]) -> None:
        changes = [change for change in due if change is not None]
        if len(changes) < len(due) or any(change.resource == SETTINGS_APPLIED for change in changes):
            await self._follow_everything()
            return
        for effect, *of in dict.fromkeys(map(_effect, changes)):
            if effect in self._effects:
                log.info("follows another node", extra={"what": effect, "of": of})
                await self._effects[effect](*of)

    async def _follow_everything(self) -> None:
        log.info("looks for all that other nodes have changed")
        await self._follow_credentials()
        await self._live.reservations_changed()
        await self._follow_endpoints()
        endpoints = [endpoint for url in self._registry.urls if (endpoint := self._registry.endpoint(url))]
        for endpoint in endpoints:
            if reads_data(endpoint.traffic_policy):
                await self._live.refresh([endpoint.url])
                await asyncio.sleep(0)  # others have their turn, where there are many

    async def _follow_credentials(self) -> None:
        # Who comes while we look has been looked up after the change.
        live = {session.credential for session in self._registry.sessions}
        kept = await asyncio.to_thread(self._kept_credentials, live)
        for credential in live:
            if credential in kept:
                await self._live.acl_changed(credential, kept[credential])
            else:
                await self._live.revoked(credential)

    def _kept_credentials(self, ids: Collection[str]) -> dict[str, Acl]:
        with self._store.read() as unit:
            kept = {token.id: token.acl for token in unit.authtokens.some(ids)}
            return kept | {key.id: key.acl for key in unit.ssh_credentials.some(ids)}

    async def _follow_endpoints(self, *ids: str) -> None:
        """Serve these cloud endpoints, or all, as the store has them."""
        refused: set[CloudEndpoint] = set()
        # Our own API may change one at the same time: done is what the store says the same of afterwards.
        while due := await asyncio.to_thread(self._cloud.differing, ids or None):
            due = [(ident, endpoint) for ident, endpoint in due if endpoint not in refused]
            if not due:
                break
            for ident, endpoint in due:
                served = self._cloud.served(ident)
                if endpoint is not None and not await self._serve(endpoint):
                    refused.add(endpoint)
                elif endpoint is None and served is not None:
                    await self._live.withdraw(served)
        self._refused = (self._refused - set(ids) if ids else set()) | {endpoint.id for endpoint in refused}

    async def _serve(self, endpoint: CloudEndpoint) -> bool:
        try:
            await self._live.serve(endpoint)
        except PorticoError as error:
            facts = {"id": endpoint.id, "url": str(endpoint.url), "code": str(error.code), "reason": error.message}
            if endpoint.id not in self._refused:
                log.error("another node's cloud endpoint is not served here", extra=facts)
            return False
        return True


def _effect(change: RecordChange) -> tuple[str, ...]:
    """What has to be done, and of what; what is the same for several changes is done once."""
    match EFFECTS.get(change.resource):
        case "endpoints":
            return "endpoints", change.id
        case "policies":
            return "policies", change.owner_id, READER if change.resource in _VAULTS else change.id
        case effect:
            return (effect or "",)
