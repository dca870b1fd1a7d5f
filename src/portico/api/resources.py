"""All resources, in the order of documents."""

from typing import Any, Final

from portico.api.api_keys import ApiKeyResource
from portico.api.audit_events import AuditEventResource
from portico.api.certificate_authorities import CertificateAuthorityResource
from portico.api.credentials import CredentialResource
from portico.api.endpoints import EndpointResource
from portico.api.ip_policies import IpPolicyResource, IpPolicyRuleResource
from portico.api.reserved_addrs import ReservedAddrResource
from portico.api.reserved_domains import ReservedDomainResource
from portico.api.resource import Resource
from portico.api.ssh_credentials import SshCredentialResource
from portico.api.tls_certificates import TlsCertificateResource
from portico.api.tunnel_sessions import TunnelSessionResource
from portico.api.tunnels import TunnelResource
from portico.api.users import UserResource
from portico.api.vaults import SecretResource, VaultResource

RESOURCES: Final[tuple[Resource[Any], ...]] = (
    UserResource(),
    ApiKeyResource(),
    CredentialResource(),
    SshCredentialResource(),
    ReservedDomainResource(),
    ReservedAddrResource(),
    TlsCertificateResource(),
    CertificateAuthorityResource(),
    EndpointResource(),
    IpPolicyResource(),
    IpPolicyRuleResource(),
    VaultResource(),
    SecretResource(),
    TunnelSessionResource(),
    TunnelResource(),
    AuditEventResource(),
)
