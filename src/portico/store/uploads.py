"""Certificates and certificate authorities that owners uploaded."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from portico.model.endpoint import KeyPair
from portico.store.records import Records
from portico.store.tables import CertificateAuthorityRow, TlsCertificateRow
from portico.store.tokens import new_id


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A chain with its key."""

    id: str
    owner_id: str
    pair: KeyPair
    description: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """CA certificates, PEM."""

    id: str
    owner_id: str
    ca_pem: str
    description: str
    note: str
    created_at: datetime


class TlsCertificates(Records[TlsCertificateRow, TlsCertificate]):
    """The uploaded certificates, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, TlsCertificateRow, "cert", _to_certificate)

    def add(self, owner_id: str, pair: KeyPair, *, description: str = "", note: str = "") -> TlsCertificate:
        """Keep a pair that has been checked."""
        row = TlsCertificateRow(id=new_id(self._kind), owner_id=owner_id, description=description, note=note)
        row.certificate_pem, row.private_key_pem = pair.certificate, pair.key
        return self._keep(row)


class CertificateAuthorities(Records[CertificateAuthorityRow, CertificateAuthority]):
    """The certificate authorities, within one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, CertificateAuthorityRow, "ca", _to_authority)

    def add(self, owner_id: str, ca_pem: str, *, description: str = "", note: str = "") -> CertificateAuthority:
        """Keep CA certificates that have been checked."""
        return self._keep(
            CertificateAuthorityRow(
                id=new_id(self._kind), owner_id=owner_id, ca_pem=ca_pem, description=description, note=note
            )
        )


def _to_certificate(row: TlsCertificateRow) -> TlsCertificate:
    pair = KeyPair(row.certificate_pem, row.private_key_pem)
    return TlsCertificate(row.id, row.owner_id, pair, row.description, row.note, row.created_at)


def _to_authority(row: CertificateAuthorityRow) -> CertificateAuthority:
    return CertificateAuthority(row.id, row.owner_id, row.ca_pem, row.description, row.note, row.created_at)
