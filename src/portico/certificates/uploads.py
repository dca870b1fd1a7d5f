"""Which of the uploaded certificates a name is served with.

One that its domain names goes first; then exact over wildcard (of one label, as clients check it: RFC 6125), then the
one that lasts longest. One that has expired or is not valid yet is passed over.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from portico.model.endpoint import KeyPair
from portico.model.names import candidates
from portico.model.x509 import CertificateFacts


@dataclass(frozen=True, slots=True)
class Upload:
    """A certificate that an owner handed in, and that was checked then."""

    id: str
    owner_id: str
    pair: KeyPair
    facts: CertificateFacts


class Uploads:
    """The uploaded certificates by the names that they are for."""

    def __init__(self, may_serve: Callable[[str, str], bool]) -> None:
        """`may_serve(owner_id, host)`: whether this owner's certificate may stand for that name."""
        self._may_serve = may_serve
        self._by_name: dict[str, list[Upload]] = {}
        self._by_id: dict[str, Upload] = {}
        self._attached: dict[str, str] = {}

    def replace(self, uploads: Iterable[Upload], attached: Mapping[str, str]) -> None:
        """From now on these; `attached` says which one a domain or wildcard asks for, by id."""
        self._by_id = {upload.id: upload for upload in uploads}
        self._by_name = {}
        for upload in self._by_id.values():
            for name in upload.facts.names:
                self._by_name.setdefault(name, []).append(upload)
        self._attached = dict(attached)

    def expiries(self) -> dict[str, datetime]:
        """When each expires, by id."""
        return {ident: upload.facts.not_after for ident, upload in self._by_id.items()}

    def best_for(self, host: str, now: datetime) -> Upload | None:
        """The certificate for this SNI (normalized)."""
        chosen = next((self._attached[name] for name in candidates(host) if name in self._attached), None)
        upload = self._by_id.get(chosen) if chosen else None
        if upload is not None and _is_valid(upload, now) and upload.facts.covers(host):
            return upload
        for name in (host, "*." + host.partition(".")[2]):
            fit = [
                upload
                for upload in self._by_name.get(name, ())
                if _is_valid(upload, now) and self._may_serve(upload.owner_id, host)
            ]
            if fit:
                return max(fit, key=lambda upload: (upload.facts.not_after, upload.id))
        return None


def _is_valid(upload: Upload, now: datetime) -> bool:
    return upload.facts.not_before <= now < upload.facts.not_after
