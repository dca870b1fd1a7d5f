"""Automatic certificates in the store: accounts, certificates, the leases of those who order, challenges."""

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from portico.model.acme import AcmeAccount, AcmeCertificate, AcmeChallenge, ChallengeKind
from portico.model.endpoint import KeyPair
from portico.store.tables import AcmeAccountRow, AcmeCertificateRow, AcmeChallengeRow, utc_now

CHALLENGE_AGE: Final = timedelta(hours=1)
"""A challenge that is older was left behind by a node that died."""
_PLAIN: Final = [field.name for field in fields(AcmeCertificate) if field.name not in ("name", "names", "pair")]


class Acme:
    """All of it, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def account(self, directory: str) -> AcmeAccount | None:
        """The account at the authority with this directory."""
        row = self._session.get(AcmeAccountRow, directory)
        return AcmeAccount(row.directory, row.key_id, row.uri, row.private_key_pem) if row else None

    def keep_account(self, account: AcmeAccount) -> None:
        """Keep an account, in place of one that there may be."""
        row = self._session.get(AcmeAccountRow, account.directory) or AcmeAccountRow(directory=account.directory)
        row.key_id, row.uri, row.private_key_pem = account.key_id, account.uri, account.key
        self._session.add(row)

    def certificates(self) -> list[AcmeCertificate]:
        """All, by name."""
        return [_certificate(row) for row in self._session.scalars(select(AcmeCertificateRow).order_by("name"))]

    def certificate(self, name: str) -> AcmeCertificate | None:
        """One."""
        row = self._session.get(AcmeCertificateRow, name)
        return _certificate(row) if row else None

    def lease(self, record: AcmeCertificate, holder: str, now: datetime, until: datetime) -> bool:
        """Whether `holder` alone may order this certificate until then.

        Of two who ask at once one waits for the other's transaction, and then finds the lease taken.
        """
        if self._session.get(AcmeCertificateRow, record.name) is None:
            self._session.add(_fill(AcmeCertificateRow(name=record.name), record))
            self._session.flush()
        free = or_(
            AcmeCertificateRow.lease_until.is_(None),
            AcmeCertificateRow.lease_until <= now,
            AcmeCertificateRow.lease_holder == holder,
        )
        taken = self._session.execute(
            update(AcmeCertificateRow)
            .where(AcmeCertificateRow.name == record.name, free)
            .values(lease_holder=holder, lease_until=until)
            .returning(AcmeCertificateRow.name)
            .execution_options(synchronize_session=False)
        )
        return taken.first() is not None

    def save(self, record: AcmeCertificate, holder: str) -> bool:
        """Keep the certificate and its state, and end the lease; False where another holds it by now."""
        row = self._session.get(AcmeCertificateRow, record.name)
        if row is None or row.lease_holder != holder:
            return False
        _fill(row, record)
        row.lease_holder = row.lease_until = None
        return True

    def release(self, name: str, holder: str) -> None:
        """End the lease as if nothing had been."""
        self._session.execute(
            update(AcmeCertificateRow)
            .where(AcmeCertificateRow.name == name, AcmeCertificateRow.lease_holder == holder)
            .values(lease_holder=None, lease_until=None)
            .execution_options(synchronize_session=False)
        )

    def remove(self, name: str) -> None:
        """Forget a certificate that nobody needs any more."""
        self._session.execute(delete(AcmeCertificateRow).where(AcmeCertificateRow.name == name))

    def challenges(self, kind: ChallengeKind, host: str) -> list[AcmeChallenge]:
        """Those under way, the latest last."""
        wanted = select(AcmeChallengeRow).where(AcmeChallengeRow.kind == kind.value, AcmeChallengeRow.host == host)
        rows = self._session.scalars(wanted.order_by(AcmeChallengeRow.created_at))
        return [AcmeChallenge(ChallengeKind(row.kind), row.host, row.token, row.answer) for row in rows]

    def put_challenge(self, challenge: AcmeChallenge) -> None:
        """Let every node answer it."""
        self._session.execute(delete(AcmeChallengeRow).where(AcmeChallengeRow.created_at < utc_now() - CHALLENGE_AGE))
        self._session.merge(
            AcmeChallengeRow(
                kind=challenge.kind.value, host=challenge.host, token=challenge.token, answer=challenge.answer
            )
        )

    def remove_challenge(self, challenge: AcmeChallenge) -> None:
        """Let no node answer it any more."""
        row = self._session.get(AcmeChallengeRow, (challenge.kind.value, challenge.host, challenge.token))
        if row is not None:
            self._session.delete(row)


def _certificate(row: AcmeCertificateRow) -> AcmeCertificate:
    complete = row.certificate_pem is not None and row.private_key_pem is not None
    pair = KeyPair(str(row.certificate_pem), str(row.private_key_pem)) if complete else None
    return AcmeCertificate(row.name, tuple(row.names), pair, **{name: getattr(row, name) for name in _PLAIN})


def _fill(row: AcmeCertificateRow, record: AcmeCertificate) -> AcmeCertificateRow:
    row.names = list(record.names)
    row.certificate_pem = record.pair.certificate if record.pair else None
    row.private_key_pem = record.pair.key if record.pair else None
    for name in _PLAIN:
        setattr(row, name, getattr(record, name))
    return row
