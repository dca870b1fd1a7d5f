"""Which names a public authority is asked for: those that the edge serves, and no other."""

from collections.abc import Callable

from portico.certificates.acme_rules import AcmeRules
from portico.model.acme import ChallengeKind
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl, Scheme
from portico.model.names import candidates, is_wildcard


class PublicNames:
    """Which certificate's names serve a host, by the names that the edge has and the endpoints that are known."""

    def __init__(
        self,
        rules: AcmeRules,
        frame: EdgeFrame,
        endpoint_of: Callable[[EndpointUrl], Endpoint | None],
        is_uploaded: Callable[[str], bool],
    ) -> None:
        self._rules = rules
        self._frame = frame
        self._endpoint_of = endpoint_of
        self._is_uploaded = is_uploaded
        self._edge = edge_public_names(rules, frame)

    def __call__(self, host: str) -> tuple[str, ...]:
        """None where the host is not served here, brings its own certificate, or can have no public one."""
        if host in self._edge:
            return self._edge
        if not is_public(host) or self._is_uploaded(host):
            return ()
        served_as = self._served_as(host)
        if served_as is None:
            return ()
        parent = host.partition(".")[2]
        if f"*.{parent}" in self._edge:
            return self._edge
        wild = is_wildcard(served_as) and served_as == f"*.{parent}" and self._rules.dns_for(served_as) is not None
        return (served_as,) if wild else (host,)

    def _served_as(self, host: str) -> str | None:
        """The name of the endpoint whose TLS ends here for `host` with a certificate of the edge's choice."""
        for name in candidates(host):
            for scheme in (Scheme.HTTPS, Scheme.TLS):
                endpoint = self._endpoint_of(EndpointUrl(scheme, name, self._frame.https.port))
                if endpoint is not None:
                    return name if endpoint.tls is not None and endpoint.tls.key_pair is None else None
        return None


def is_public(host: str) -> bool:
    """Whether an authority may vouch for this name: it has a dot, and is not this machine's alone (RFC 6761)."""
    return "." in host and not host.endswith(".localhost") and not host.rpartition(".")[2].isdigit()


def edge_public_names(rules: AcmeRules, frame: EdgeFrame) -> tuple[str, ...]:
    """The names of the edge's own certificate: with DNS-01 a wildcard, which serves random names at once."""
    domain = frame.domain
    if not is_public(domain):
        return ()
    if has_wildcard(rules, domain):
        return domain, f"*.{domain}"
    return domain, frame.connect_host, frame.api_host, f"dashboard.{domain}"


def has_wildcard(rules: AcmeRules, domain: str) -> bool:
    """Whether the edge can have a certificate for `*.domain`."""
    return is_public(domain) and ChallengeKind.DNS in rules.challenges and rules.dns_for(domain) is not None
