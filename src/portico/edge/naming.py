"""How URLs come about on an edge: its own names, random names, named domains, ports of a range."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from portico.model.endpoint import DEFAULT_PORTS, EndpointUrl, Scheme
from portico.model.errors import DOMAIN_RESERVED, NO_FREE_PORT, PORT_OUT_OF_RANGE, PorticoError
from portico.model.names import is_internal_host, normalize_host, random_name

OWN_LABELS: Final = ("connect", "api", "dashboard")
"""First labels of the edge's own names."""

Taken = Callable[[EndpointUrl], bool]


@dataclass(frozen=True, slots=True)
class Naming:
    """The names and ports that one edge has to give."""

    domain: str
    https_port: int
    http_port: int | None
    tcp_ports: range

    def random(self, scheme: Scheme, taken: Taken) -> EndpointUrl:
        """A name under the edge's domain that nobody has."""
        while taken(url := EndpointUrl(scheme, random_name(self.domain), self._port(scheme))):
            pass
        return url

    def named(self, scheme: Scheme, host: str) -> EndpointUrl:
        """The URL of an asked-for name. Raises PorticoError for the edge's own names and for what is no name.

        Internal names have no listener, and so the usual ports.
        """
        name = normalize_host(host)
        if "." not in name:
            name = f"{name}.{self.domain}"
        own = {self.domain, *(f"{label}.{self.domain}" for label in OWN_LABELS)}
        if name in own:
            raise PorticoError(DOMAIN_RESERVED, f"{name} belongs to the edge itself")
        return EndpointUrl(scheme, name, DEFAULT_PORTS[scheme] if is_internal_host(name) else self._port(scheme))

    def asked_for(self, url: EndpointUrl) -> EndpointUrl:
        """The URL that somebody who wrote `url` gets; only a tcp one has a say in its port."""
        if url.scheme is Scheme.TCP:
            return self.tcp(url.host, url.port, lambda _: False)
        return self.named(url.scheme, url.host)

    def tcp(self, host: str | None, port: int | None, taken: Taken) -> EndpointUrl:
        """The asked-for port, or the next free one of the range; the host is only what the URL shows."""
        shown = normalize_host(host) if host else self.domain
        if port and is_internal_host(shown):
            return EndpointUrl(Scheme.TCP, shown, port)
        if port:
            if port not in self.tcp_ports:
                first, last = self.tcp_ports.start, self.tcp_ports.stop - 1
                raise PorticoError(PORT_OUT_OF_RANGE, f"port {port} is outside of this edge's range {first}-{last}")
            return EndpointUrl(Scheme.TCP, shown, port)
        for candidate in self.tcp_ports:
            if not taken(url := EndpointUrl(Scheme.TCP, shown, candidate)):
                return url
        raise PorticoError(NO_FREE_PORT, f"all {len(self.tcp_ports)} ports for tcp endpoints are taken")

    def _port(self, scheme: Scheme) -> int:
        if scheme is not Scheme.HTTP:
            return self.https_port
        if self.http_port is None:
            raise PorticoError(DOMAIN_RESERVED, "this edge has no http address", fix="Use an https endpoint.")
        return self.http_port
