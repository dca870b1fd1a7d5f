"""`/certificate_authorities`: CAs that visitors' certificates are checked against."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import Field

from portico.api import x509_fields
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, StoredView
from portico.api.tls_certificates import Pem
from portico.model.x509 import read_authorities

if TYPE_CHECKING:
    from portico.store.store import Unit
    from portico.store.uploads import CertificateAuthorities, CertificateAuthority


class CertificateAuthorityCreate(Create):
    """A new certificate authority."""

    ca_pem: Pem = Field(description="PEM of the CA's certificate; its basicConstraints have to say that it is a CA.")


class CertificateAuthorityView(StoredView):
    """A certificate authority."""

    ca_pem: str
    subject_common_name: str
    not_before: datetime
    not_after: datetime
    key_usages: list[str]
    extended_key_usages: list[str]


class CertificateAuthorityResource(StoredResource["CertificateAuthority"]):
    """Certificate authorities."""

    name = "certificate_authorities"
    noun = "certificate authority"
    about = "CA certificates, to check visitors' certificates against."
    view = CertificateAuthorityView
    create_body = CertificateAuthorityCreate

    def records(self, unit: "Unit") -> "CertificateAuthorities":
        """Where certificate authorities are."""
        return unit.certificate_authorities

    def create(
        self, call: Call, unit: "Unit", owner_id: str, body: CertificateAuthorityCreate
    ) -> "tuple[CertificateAuthority, str]":
        """Check and keep it."""
        read_authorities(body.ca_pem, now=datetime.now(UTC), where="ca_pem")
        made = unit.certificate_authorities.add(owner_id, body.ca_pem, description=body.description, note=body.metadata)
        return made, ""

    def show(self, call: Call, value: "CertificateAuthority") -> CertificateAuthorityView:
        """With what the first certificate says."""
        first = x509_fields.first_certificate(value.ca_pem)
        return CertificateAuthorityView(
            **self.fields(call, value),
            ca_pem=value.ca_pem,
            subject_common_name=x509_fields.common_name(first.subject),
            not_before=first.not_valid_before_utc,
            not_after=first.not_valid_after_utc,
            key_usages=x509_fields.key_usages(first),
            extended_key_usages=x509_fields.extended_key_usages(first),
        )
