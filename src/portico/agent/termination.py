"""Where a visitor's TLS ends: what may be asked for together, the same for command line, files and SDK.

All is checked before anything is started; nothing of a key that stays here is in what the edge is asked for.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from portico.agent.bind import BindKind, BindRequest
from portico.agent.settings import AgentTls
from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, PorticoError
from portico.model.tls import KeyPair
from portico.model.value import Value

_END_FIRST: Final = "End TLS at the edge or at the agent (terminate_at), or let the upstream check certificates itself."
_ANY_DOMAIN: Final = "Use a certificate of that name, or pass crt_any_domain (--crt-any-domain) if you know better."

AskPassphrase = Callable[[str], str]
"""Asks a person for the passphrase of what its argument names."""


class Termination(Value, frozen=True, kw_only=True):
    """What somebody asks for, in PEM; empty means not given."""

    at: str | None = None
    """edge, agent, upstream; None leaves it to what else is given."""
    certificate: str | None = None
    key: str | None = None
    authorities: str | None = None
    """CAs that visitors' certificates must come from."""
    any_domain: bool = False
    """Whether a certificate that does not cover the domain is taken at the agent."""
    automatic: bool = False
    """Whether a pair was given that is empty: an automatic one at the edge, as ngrok's SDKs write it."""

    @property
    def place(self) -> str:
        """Where TLS ends."""
        return self.at or ("edge" if self.certificate or self.key or self.automatic else "upstream")

    def apply(self, bind: BindRequest, host: str) -> tuple[AgentTls | None, BindRequest]:
        """TLS of ours, if it ends here, and `bind` with what the edge has to know. `host` is empty where not chosen.

        Raises PorticoError(OPTION_INVALID, CERTIFICATE_INVALID).
        """
        if bind.kind is not BindKind.TLS:
            return None, self._of_other_kind(bind)
        place = self.place
        if place == "upstream":
            self._refuse_at_upstream()
            return None, bind
        pair = self._pair()
        self._check_authorities()
        if place == "edge":
            self._refuse_any_domain("TLS ends at the edge")
            return None, replace(bind, edge_tls=True, key_pair=pair, visitor_authorities=self.authorities or "")
        if pair is None:
            raise PorticoError(
                OPTION_INVALID, "TLS that ends at the agent needs crt and key", fix="Give both, or end TLS at the edge."
            )
        if not self.any_domain:
            _check_cover(pair, host, bind.subdomain)
        return AgentTls(pair, self.authorities or None), bind

    def _of_other_kind(self, bind: BindRequest) -> BindRequest:
        if self.at or self.certificate or self.key:
            raise PorticoError(
                OPTION_INVALID,
                "crt, key and terminate_at belong to tls endpoints only",
                fix="Use a tls endpoint (`portico tls`, a tls:// URL); TLS of https endpoints ends at the edge.",
            )
        self._refuse_any_domain(f"this is no tls endpoint but {bind.kind}")
        if not self.authorities:
            return bind
        if bind.kind is not BindKind.HTTPS:
            raise PorticoError(
                OPTION_INVALID,
                f"mutual TLS (mutual_tls_cas) needs TLS, which {bind.kind} endpoints do not have",
                fix="Use an https or tls endpoint.",
            )
        self._check_authorities()
        return replace(bind, visitor_authorities=self.authorities)

    def _pair(self) -> KeyPair | None:
        if not self.certificate and not self.key:
            return None
        if not self.certificate or not self.key:
            missing = "certificate (crt)" if self.key else "private key (key)"
            raise PorticoError(CERTIFICATE_INVALID, f"the {missing} is missing: the two go together")
        pair = KeyPair(self.certificate, self.key)
        check_pair(pair, "crt and key")
        return pair

    def _check_authorities(self) -> None:
        if self.authorities:
            from portico.model import x509

            x509.read_authorities(self.authorities, now=datetime.now(UTC), where="mutual_tls_cas")

    def _refuse_at_upstream(self) -> None:
        self._refuse_any_domain("TLS ends at the upstream")
        if self.certificate or self.key:
            raise PorticoError(
                OPTION_INVALID, "crt and key mean nothing where TLS ends at the upstream", fix=_END_FIRST
            )
        if self.authorities:
            raise PorticoError(
                OPTION_INVALID,
                "mutual TLS (mutual_tls_cas) was asked for, but TLS is not terminated: it passes to the upstream",
                fix=_END_FIRST,
            )

    def _refuse_any_domain(self, why: str) -> None:
        if self.any_domain:
            raise PorticoError(OPTION_INVALID, f"crt_any_domain means nothing where {why}")


def check_pair(pair: KeyPair, where: str) -> None:
    """Whether certificate and key belong together and are valid now. Raises PorticoError(CERTIFICATE_INVALID)."""
    from portico.model import x509  # brings cryptography, which few agents need

    x509.read_key_pair(pair, now=datetime.now(UTC), where=where)


def opened_key(key: str, passphrase: str | None, where: str, ask: AskPassphrase | None = None) -> str:
    """`key` without its passphrase, if it has one; `ask` is a person to ask.

    Raises PorticoError(CERTIFICATE_INVALID).
    """
    if "ENCRYPTED" not in key:
        return key
    from portico.model import x509

    if not x509.is_encrypted(key):
        return key
    if passphrase is None and ask is not None:
        passphrase = ask(where)
    if passphrase is None:
        raise PorticoError(
            CERTIFICATE_INVALID,
            f"{where}: the private key is encrypted, and no passphrase was given",
            fix="Give a file that holds the passphrase (--key-passphrase-file), set PORTICO_KEY_PASSPHRASE, or start "
            "on a terminal to be asked; in Python, pass key_passphrase.",
        )
    return x509.decrypted(key, passphrase, where=where)


def uncovered(pair: KeyPair, host: str) -> str:
    """A sentence where the certificate is not valid for `host`, else nothing."""
    from portico.model import x509

    facts = x509.read_key_pair_facts(pair)
    if facts.covers(host):
        return ""
    return f"the certificate does not cover {host}; it is for {', '.join(facts.names) or 'no name at all'}"


def _check_cover(pair: KeyPair, host: str, subdomain: str) -> None:
    """Where TLS ends here, nobody else could notice: a visitor would meet a wrong certificate."""
    from portico.model import x509

    if host:
        if problem := uncovered(pair, host):
            raise PorticoError(CERTIFICATE_INVALID, problem, fix=_ANY_DOMAIN)
        return
    names = x509.read_key_pair_facts(pair).names
    if subdomain:
        # The rest of the name is the edge's and not known yet.
        if not any(name.partition(".")[0] in (subdomain, "*") for name in names):
            problem = f"the certificate does not cover {subdomain}.<the edge's domain>; it is for {', '.join(names)}"
            raise PorticoError(CERTIFICATE_INVALID, problem, fix=_ANY_DOMAIN)
        return
    raise PorticoError(
        OPTION_INVALID,
        "no domain was asked for, but TLS that ends at the agent needs one that the certificate covers",
        fix=f"Ask for one of its names, as in --url tls://{names[0]}." if names else _ANY_DOMAIN,
    )
