"""Asks the authorities, one after another, for a certificate, and for the time to renew it."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from portico.certificates.acme_order import Stage, obtain
from portico.certificates.acme_rules import AcmeDirectory, AcmeRules
from portico.certificates.acme_session import AcmeError, AcmeSession, certificate_id
from portico.daemon_thread import in_thread
from portico.model.acme import AcmeAccount, AcmeCertificate, ChallengeKind
from portico.model.endpoint import KeyPair

log = logging.getLogger(__name__)

_ORDER_SECONDS: Final = 540.0
"""For one order from its beginning to its end; shorter than the lease that keeps other nodes away."""


class Accounts(Protocol):
    """Where accounts are kept."""

    async def account(self, directory: str) -> AcmeAccount | None:
        """The one that is known."""

    async def keep_account(self, account: AcmeAccount) -> None:
        """Keep it, in place of one that there may be."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What an authority gave."""

    pair: KeyPair
    directory: str


class Issuer:
    """All authorities of the rules."""

    def __init__(self, rules: AcmeRules, accounts: Accounts, stage: Stage) -> None:
        self._rules = rules
        self._accounts = accounts
        self._stage = stage
        self._resting: dict[str, datetime] = {}
        self._registering = asyncio.Lock()

    async def issue(self, record: AcmeCertificate, now: datetime) -> Issued:
        """A certificate from the first authority that gives one. Raises AcmeError with what each of them said.

        After a failure the next kind of challenge has its turn.
        """
        kinds = self._rules.kinds_for(record.names)
        if not kinds:
            raise AcmeError("no challenge can be met: a wildcard needs dns-01 and a DNS provider for its zone")
        kind = kinds[record.failures % len(kinds)]
        problems: list[AcmeError] = []
        for directory in self._rules.directories:
            until = self._resting.get(directory.url)
            if until is not None and now < until:
                problems.append(AcmeError(f"{directory.url}: wants no order before {until:%H:%M:%S} UTC", until))
                continue
            try:
                async with asyncio.timeout(_ORDER_SECONDS / len(self._rules.directories)):
                    return await self._ask(directory, record, kind)
            except TimeoutError:
                problems.append(AcmeError(f"{directory.url}: took too long"))
            except AcmeError as error:
                problems.append(error)
                if error.retry_at is not None:
                    self._resting[directory.url] = error.retry_at
            facts = {"host": record.name, "directory": directory.url, "challenge": kind, "reason": str(problems[-1])}
            log.warning("a certificate authority gave no certificate", extra=facts)
        # While one of them may be asked at any time, nobody has to wait for the others.
        times = [error.retry_at for error in problems]
        retry_at = None if None in times else min(time for time in times if time is not None)
        raise AcmeError(" | ".join(str(error) for error in problems), retry_at)

    async def renewal_window(self, record: AcmeCertificate) -> tuple[tuple[datetime, datetime] | None, datetime | None]:
        """When its authority suggests to renew, and when to ask again. Raises AcmeError."""
        directory = next((one for one in self._rules.directories if one.url == record.directory), None)
        if directory is None or record.pair is None:
            return None, None
        session = await self._session(directory)
        return await in_thread(session.renewal_window, record.pair.certificate)

    async def _ask(self, directory: AcmeDirectory, record: AcmeCertificate, kind: ChallengeKind) -> Issued:
        async with self._registering:  # one account, however many orders begin at once
            session = await self._session(directory)
            account = await self._account(session, None)
        replaces = ""
        if record.pair is not None and record.directory == directory.url:
            replaces = certificate_id(record.pair.certificate)
        try:
            pair = await obtain(session, record.names, kind, self._rules, self._stage, replaces)
        finally:
            await self._account(session, account)
        return Issued(pair, directory.url)

    async def _account(self, session: AcmeSession, before: AcmeAccount | None) -> AcmeAccount:
        """The session's account; kept where it is another one than `before`, as after an authority forgot us."""
        account = await in_thread(session.account)
        if account != before:
            await self._accounts.keep_account(account)
        return account

    async def _session(self, directory: AcmeDirectory) -> AcmeSession:
        return await in_thread(AcmeSession, directory, self._rules.email, await self._accounts.account(directory.url))
