"""What HTTP upstreams are told of the certificate that a visitor showed: the headers that ngrok sends.

Beside them stands Envoy's own X-Forwarded-Client-Cert (`connection_manager.py`). What a visitor sends under these names
is removed on every chain, so that an upstream may believe them.
"""

from typing import Final

from portico.translate.typed import Body, extension

_COMMON_NAME: Final = "ngrok-mtls-subject-cn"

TOLD: Final = {
    "ngrok-mtls-subject-alt-name-dns": "%DOWNSTREAM_PEER_DNS_SAN%",
    "ngrok-mtls-email-addresses": "%DOWNSTREAM_PEER_EMAIL_SAN%",
    "ngrok-mtls-serial-number": "%DOWNSTREAM_PEER_SERIAL%",
}
"""Header and Envoy's format of its value; what the certificate does not say is left out."""

HEADERS: Final = (_COMMON_NAME, *TOLD)
"""All of them."""

_SCRIPT: Final = f"""\
function envoy_on_request(handle)
  local tls = handle:streamInfo():downstreamSslConnection()
  if tls == nil or not tls:peerCertificatePresented() then return end
  local subject = tls:parsedSubjectPeerCertificate()
  local name = subject and subject:commonName()
  if name == nil or name == "" or string.find(name, "%c") then return end
  handle:headers():replace("{_COMMON_NAME}", name)
end
"""


def name_filter() -> Body:
    """Tells the common name, which Envoy's formats know only within the whole subject."""
    return extension(
        "visitor-certificate",
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": _SCRIPT},
        shared_vm_id="portico",
    )
