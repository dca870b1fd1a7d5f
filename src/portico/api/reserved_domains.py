"""`/reserved_domains`: host names and wildcards that one owner alone may use."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field

from portico.api.ports import Node
from portico.api.resource import Call, StoredResource
from portico.api.shapes import Body, Create, Ref, StoredView, Text, Update
from portico.model.acme import AutomaticState
from portico.model.errors import (
    API_FIELD_INVALID,
    API_FORBIDDEN,
    CERTIFICATE_INVALID,
    DOMAIN_ALREADY_YOURS,
    DOMAIN_IN_USE,
    DOMAIN_OF_ANOTHER,
    PorticoError,
)
from portico.model.names import INTERNAL_SUFFIX, covers, is_wildcard
from portico.model.owner import Scope
from portico.model.x509 import read_key_pair_facts

if TYPE_CHECKING:
    from portico.store.domains import Domain, Domains
    from portico.store.store import Unit

_CertificateId = Annotated[Text, Field(max_length=40)]


class ResolvesTo(Body):
    """Where a domain's visitors are sent; there is one place only."""

    value: Literal["global"]


class ReservedDomainCreate(Create):
    """A new reserved domain."""

    domain: Annotated[Text, Field(max_length=255)] = Field(
        description="Host name, or `*.` and a name; one label stands under the edge's domain."
    )
    region: Annotated[Text, Field(max_length=63)] = Field(
        default="", description="Understood for the sake of ngrok's clients; without effect."
    )
    certificate_id: _CertificateId | None = Field(
        default=None, description="The uploaded TLS certificate to serve it with; otherwise the edge chooses."
    )
    resolves_to: list[ResolvesTo] = Field(default_factory=list, description="Only `global`.")


class ReservedDomainUpdate(Update):
    """Changes of a reserved domain."""

    certificate_id: _CertificateId | None = Field(
        default=None, description="The uploaded TLS certificate to serve it with."
    )
    resolves_to: list[ResolvesTo] | None = Field(default=None, description="Only `global`.")


class ManagementPolicy(BaseModel):
    """Who issues the certificate, where nobody uploaded one."""

    authority: str
    """URL of the authority's directory; empty before the first certificate."""
    private_key_type: Literal["ecdsa"] = "ecdsa"


class ProvisioningJob(BaseModel):
    """An order that has not succeeded yet."""

    error_code: str | None
    """`failing` without a certificate, `renewing` with one that is valid still; null before the first failure."""
    msg: str
    """What the authorities said; empty where none has been asked yet."""
    started_at: datetime | None = None
    retries_at: datetime | None


class ManagementStatus(BaseModel):
    """How the automatic certificate does."""

    renews_at: datetime | None
    provisioning_job: ProvisioningJob | None


class ReservedDomainView(StoredView):
    """A reserved domain."""

    domain: str
    region: str
    cname_target: str | None
    """Where its DNS has to point; null below the edge's own domain."""
    certificate: Ref | None
    certificate_management_policy: ManagementPolicy | None = None
    certificate_management_status: ManagementStatus | None = None
    acme_challenge_cname_target: str | None = None
    resolves_to: list[ResolvesTo] = Field(default_factory=list)


class ReservedDomainResource(StoredResource["Domain"]):
    """Reserved domains."""

    name = "reserved_domains"
    noun = "reserved domain"
    about = "Host names, and wildcards, that nobody else may use."
    view = ReservedDomainView
    create_body = ReservedDomainCreate
    update_body = ReservedDomainUpdate
    detachable = ("certificate",)

    def records(self, unit: "Unit") -> "Domains":
        """Where reserved domains are."""
        return unit.domains

    def create(self, call: Call, unit: "Unit", owner_id: str, body: ReservedDomainCreate) -> "tuple[Domain, str]":
        """Reserve a name."""
        name = call.node.domain_name(body.domain)
        _check_free(call, unit, owner_id, name)
        if body.certificate_id:
            _check_certificate(unit, owner_id, name, body.certificate_id)
        made = unit.domains.add(
            owner_id,
            name,
            source="api",
            description=body.description,
            note=body.metadata,
            certificate_id=body.certificate_id or None,
        )
        return made, ""

    def changes(self, call: Call, unit: "Unit", value: "Domain", body: ReservedDomainUpdate) -> dict[str, object]:
        """Also the certificate."""
        changes = super().changes(call, unit, value, body)
        if body.certificate_id:
            _check_certificate(unit, value.owner_id, value.name, body.certificate_id)
            changes["certificate_id"] = body.certificate_id
        return changes

    def show(self, call: Call, value: "Domain") -> ReservedDomainView:
        """With its certificate, where it names one."""
        certificate = value.certificate_id
        automatic = None if certificate else call.node.automatic_certificate(value.name)
        is_ours = covers(f"*.{call.node.domain}", value.name) or value.name == f"*.{call.node.domain}"
        return ReservedDomainView(
            **self.fields(call, value),
            domain=value.name,
            region="",
            cname_target=None if is_ours else call.node.domain,
            certificate=Ref(id=certificate, uri=call.uri("tls_certificates", certificate)) if certificate else None,
            certificate_management_policy=ManagementPolicy(authority=automatic.directory) if automatic else None,
            certificate_management_status=_management_status(automatic) if automatic else None,
        )

    async def created(self, node: Node, value: "Domain") -> None:
        """The registry and the choice of certificates hear of it."""
        await node.reservations_changed()

    async def updated(self, node: Node, value: "Domain") -> None:
        """The choice of certificates hears of it."""
        await node.certificates_changed()

    async def removed(self, node: Node, value: "Domain") -> None:
        """The registry and the choice of certificates hear of it."""
        await node.reservations_changed()


def _management_status(automatic: AutomaticState) -> ManagementStatus:
    job = None
    if automatic.state != "valid":
        job = ProvisioningJob(
            error_code=automatic.state if automatic.failures else None,
            msg=automatic.last_error,
            retries_at=automatic.next_attempt,
        )
    return ManagementStatus(renews_at=automatic.renews_at, provisioning_job=job)


def _check_free(call: Call, unit: "Unit", owner_id: str, name: str) -> None:
    for domain in unit.domains.all():
        if domain.owner_id == owner_id:
            if domain.name == name:
                raise PorticoError(DOMAIN_ALREADY_YOURS, f"domain: {name} is reserved already, as {domain.id}")
        elif domain.name == name or covers(domain.name, name) or covers(name, domain.name):
            raise PorticoError(DOMAIN_OF_ANOTHER, f"domain: {name} is reserved for another owner")
    everybodys = {f"x.{call.node.domain}": "the edge's own names", f"x{INTERNAL_SUFFIX}": "everybody's internal names"}
    within = next((names for one, names in everybodys.items() if is_wildcard(name) and covers(name, one)), None)
    if within is not None and not call.caller.is_operator:
        raise PorticoError(API_FORBIDDEN, f"domain: only the operator may reserve {name}, which {within} are in")
    if call.node.holders(name) - {owner_id}:
        raise PorticoError(DOMAIN_IN_USE, f"domain: another owner has an endpoint online at {name}")


def _check_certificate(unit: "Unit", owner_id: str, name: str, certificate_id: str) -> None:
    certificate = unit.tls_certificates.find(certificate_id, Scope(owner_id))
    if certificate is None:
        raise PorticoError(
            API_FIELD_INVALID, f"certificate_id: the domain's owner has no certificate {certificate_id!r}"
        )
    facts = read_key_pair_facts(certificate.pair)
    if not facts.covers(name):
        names = ", ".join(facts.names)
        raise PorticoError(CERTIFICATE_INVALID, f"certificate_id: it is for {names}, not for {name}")
