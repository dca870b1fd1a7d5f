"""`/tls_certificates`: certificates that owners upload; the best one for a name is served, from that moment on."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cryptography.x509.oid import NameOID
from pydantic import BaseModel, Field

from portico.api import x509_fields
from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Create, StoredView, Text
from portico.certificates.check import check_own_pair
from portico.model.endpoint import KeyPair
from portico.model.errors import API_IN_USE, PorticoError

if TYPE_CHECKING:
    from portico.store.store import Unit
    from portico.store.uploads import TlsCertificate, TlsCertificates

Pem = Annotated[Text, Field(max_length=262_144)]


class TlsCertificateCreate(Create):
    """A new certificate with its key."""

    certificate_pem: Pem = Field(description="PEM of the certificate and its chain, leaf first.")
    private_key_pem: Pem = Field(description="PEM of the private key, without passphrase.", repr=False)


class AlternativeNames(BaseModel):
    """Subject alternative names."""

    dns_names: list[str]
    ips: list[str]


class TlsCertificateView(StoredView):
    """A certificate. Its private key is never shown."""

    certificate_pem: str
    subject_common_name: str
    subject_alternative_names: AlternativeNames
    issued_at: datetime | None = None
    not_before: datetime
    not_after: datetime
    key_usages: list[str]
    extended_key_usages: list[str]
    private_key_type: str
    issuer_common_name: str
    serial_number: str
    subject_organization: str
    subject_organizational_unit: str
    subject_locality: str
    subject_province: str
    subject_country: str


class TlsCertificateResource(StoredResource["TlsCertificate"]):
    """Uploaded certificates."""

    name = "tls_certificates"
    noun = "TLS certificate"
    about = (
        "Certificates of your own, served for the names that they cover and that are reserved for their owner; the "
        "operator's for every name. Exact goes before wildcard, then the longest life; all before automatic ones."
    )
    view = TlsCertificateView
    create_body = TlsCertificateCreate

    def records(self, unit: "Unit") -> "TlsCertificates":
        """Where certificates are."""
        return unit.tls_certificates

    def create(
        self, call: Call, unit: "Unit", owner_id: str, body: TlsCertificateCreate
    ) -> "tuple[TlsCertificate, str]":
        """Check and keep a pair."""
        pair = KeyPair(body.certificate_pem, body.private_key_pem)
        check_own_pair(pair, now=datetime.now(UTC), where="certificate_pem, private_key_pem")
        return unit.tls_certificates.add(owner_id, pair, description=body.description, note=body.metadata), ""

    def remove(self, call: Call, unit: "Unit", value: "TlsCertificate") -> None:
        """Unless a domain names it."""
        domains = unit.domains.using(value.id)
        if domains:
            names = ", ".join(domain.name for domain in domains)
            raise PorticoError(API_IN_USE, f"{value.id} is the certificate of {names}")
        super().remove(call, unit, value)

    def show(self, call: Call, value: "TlsCertificate") -> TlsCertificateView:
        """With what the leaf says."""
        leaf = x509_fields.first_certificate(value.pair.certificate)
        dns_names, ips = x509_fields.alternative_names(leaf)
        return TlsCertificateView(
            **self.fields(call, value),
            certificate_pem=value.pair.certificate,
            subject_common_name=x509_fields.common_name(leaf.subject),
            subject_alternative_names=AlternativeNames(dns_names=dns_names, ips=ips),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            key_usages=x509_fields.key_usages(leaf),
            extended_key_usages=x509_fields.extended_key_usages(leaf),
            private_key_type=x509_fields.key_type(leaf),
            issuer_common_name=x509_fields.common_name(leaf.issuer),
            serial_number=f"{leaf.serial_number:x}",
            subject_organization=x509_fields.name_part(leaf.subject, NameOID.ORGANIZATION_NAME),
            subject_organizational_unit=x509_fields.name_part(leaf.subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
            subject_locality=x509_fields.name_part(leaf.subject, NameOID.LOCALITY_NAME),
            subject_province=x509_fields.name_part(leaf.subject, NameOID.STATE_OR_PROVINCE_NAME),
            subject_country=x509_fields.name_part(leaf.subject, NameOID.COUNTRY_NAME),
        )

    async def created(self, node: Node, value: "TlsCertificate") -> None:
        """It may be the best one from now on."""
        await node.certificates_changed()

    async def removed(self, node: Node, value: "TlsCertificate") -> None:
        """Another one is the best one."""
        await node.certificates_changed()
