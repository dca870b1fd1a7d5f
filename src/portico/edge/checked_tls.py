"""How TLS is to end at the edge, checked before anything is published, whichever door it was asked for at."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from portico.certificates.check import check_own_pair
from portico.model.authority_bundle import certificates_only, read_revocations
from portico.model.endpoint import EdgeTls, TlsVersion
from portico.model.errors import BIND_INVALID, PorticoError
from portico.model.x509 import read_authorities

MAX_AUTHORITIES: Final = 10
"""CAs of one endpoint, as at ngrok (https://ngrok.com/docs/universal-gateway/tls-termination/#mutual-tls)."""


def checked_tls(wanted: EdgeTls, minimum: TlsVersion, *, pair_at: str, authorities_at: str) -> EdgeTls:
    """`wanted` as Envoy can serve it; its `client_authorities` may still be a bundle with CRLs.

    `minimum` is the TLS version that this edge demands at least; `pair_at` and `authorities_at` say where each was
    given. Raises PorticoError: BIND_INVALID, CERTIFICATE_INVALID.
    """
    if wanted.maximum < minimum:
        raise PorticoError(BIND_INVALID, f"max_version {wanted.maximum} is below {minimum}, this edge's minimum")
    now, bundle = datetime.now(UTC), wanted.client_authorities
    if wanted.key_pair:
        check_own_pair(wanted.key_pair, now=now, where=pair_at)
    if bundle is None:
        return wanted
    return replace(
        wanted,
        client_authorities=_authorities(bundle, now, authorities_at),
        revocations=read_revocations(bundle, now=now, where=authorities_at),
    )


def _authorities(pem: str, now: datetime, where: str) -> str:
    """The CA certificates of the bundle, and nothing else that may stand in it."""
    authorities = read_authorities(pem, now=now, where=where)
    if len(authorities) > MAX_AUTHORITIES:
        raise PorticoError(
            BIND_INVALID, f"{where} has {len(authorities)} authorities; the edge takes {MAX_AUTHORITIES} at most"
        )
    return certificates_only(pem)
