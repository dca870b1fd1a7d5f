"""Automatic certificates on one edge node: the parts of `certificates/` joined to the store, the registry and Envoy."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from portico.certificates.acme_challenges import ChallengeDesk, challenge_app, tls_responder
from portico.certificates.acme_issuer import Issuer
from portico.certificates.acme_rules import AcmeRules
from portico.certificates.automatic import AutomaticCertificates
from portico.edge.web_server import served
from portico.model.acme import AcmeAccount, AcmeCertificate, AcmeChallenge, AutomaticState, ChallengeKind
from portico.model.edge import ChallengeSockets, EdgeFrame
from portico.store.store import Store

log = logging.getLogger(__name__)


class Acme:
    """The automatic certificates of a node where they are on."""

    def __init__(
        self,
        rules: AcmeRules,
        frame: EdgeFrame,
        store: Store,
        names_for: Callable[[str], tuple[str, ...]],
        on_change: Callable[[AcmeCertificate], None],
    ) -> None:
        assert frame.challenges is not None
        self._sockets: ChallengeSockets = frame.challenges
        self._work: asyncio.Task[None] | None = None
        shelf = StoreShelf(store)
        self._desk = ChallengeDesk(shelf.challenges)
        issuer = Issuer(rules, shelf, _Stage(self._desk, shelf))
        self._certificates = AutomaticCertificates(rules, shelf, issuer, names_for, on_change)

    def best_for(self, host: str) -> AcmeCertificate | None:
        """The valid automatic certificate for a name."""
        return self._certificates.best_for(host)

    def want(self, host: str) -> None:
        """See that a name has one, if this edge serves it."""
        self._certificates.want(host)

    def states(self) -> list[AutomaticState]:
        """How each of them does."""
        return self._certificates.states()

    def state(self, host: str) -> AutomaticState | None:
        """How the one that serves a name does."""
        return self._certificates.state(host)

    async def load(self) -> None:
        """Take what the store has."""
        await self._certificates.load()

    def begin(self) -> None:
        """Order and renew from now on: Envoy serves, so authorities that look find the edge."""
        self._work = asyncio.create_task(self._certificates.run(), name="acme")

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer challenges; at the end, order no more."""
        async with (
            served(challenge_app(self._desk), uds=self._sockets.http),
            tls_responder(self._desk, Path(self._sockets.tls)),
        ):
            try:
                yield
            finally:
                if self._work is not None:
                    self._work.cancel()
                    await asyncio.gather(self._work, return_exceptions=True)


class StoreShelf:
    """The store, for certificates, accounts and challenges. What writes waits for the disk, so it runs in a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def certificates(self) -> list[AcmeCertificate]:
        """All."""
        with self._store.read() as unit:
            return unit.acme.certificates()

    async def certificate(self, name: str) -> AcmeCertificate | None:
        """One."""
        with self._store.read() as unit:
            return unit.acme.certificate(name)

    async def lease(self, record: AcmeCertificate, holder: str, now: datetime, until: datetime) -> bool:
        """Whether `holder` alone may order it."""

        def write() -> bool:
            with self._store.write() as unit:
                return unit.acme.lease(record, holder, now, until)

        return await asyncio.to_thread(write)

    async def save(self, record: AcmeCertificate, holder: str) -> None:
        """Keep it, and end the lease."""

        def write() -> None:
            with self._store.write() as unit:
                kept = unit.acme.save(record, holder)
            if not kept:
                log.warning("another node has ordered the same certificate meanwhile", extra={"host": record.name})

        await asyncio.to_thread(write)

    async def release(self, name: str, holder: str) -> None:
        """End the lease."""

        def write() -> None:
            with self._store.write() as unit:
                unit.acme.release(name, holder)

        await asyncio.to_thread(write)

    async def remove(self, name: str) -> None:
        """Forget it."""

        def write() -> None:
            with self._store.write() as unit:
                unit.acme.remove(name)

        await asyncio.to_thread(write)

    async def account(self, directory: str) -> AcmeAccount | None:
        """The account at an authority."""
        with self._store.read() as unit:
            return unit.acme.account(directory)

    async def keep_account(self, account: AcmeAccount) -> None:
        """Keep an account."""

        def write() -> None:
            with self._store.write() as unit:
                unit.acme.keep_account(account)

        await asyncio.to_thread(write)

    def challenges(self, kind: ChallengeKind, host: str) -> list[AcmeChallenge]:
        """Those of all nodes for a host."""
        with self._store.read() as unit:
            return unit.acme.challenges(kind, host)

    async def put_challenge(self, challenge: AcmeChallenge) -> None:
        """Let every node answer it."""

        def write() -> None:
            with self._store.write() as unit:
                unit.acme.put_challenge(challenge)

        await asyncio.to_thread(write)

    async def remove_challenge(self, challenge: AcmeChallenge) -> None:
        """Let no node answer it."""

        def write() -> None:
            with self._store.write() as unit:
                unit.acme.remove_challenge(challenge)

        await asyncio.to_thread(write)


class _Stage:
    """Puts challenges up on this node and, through the store, on the others."""

    def __init__(self, desk: ChallengeDesk, shelf: StoreShelf) -> None:
        self._desk = desk
        self._shelf = shelf

    async def put(self, challenge: AcmeChallenge) -> None:
        """Answer it from now on."""
        self._desk.put(challenge)
        await self._shelf.put_challenge(challenge)

    async def remove(self, challenge: AcmeChallenge) -> None:
        """Answer it no more."""
        self._desk.remove(challenge)
        await self._shelf.remove_challenge(challenge)
