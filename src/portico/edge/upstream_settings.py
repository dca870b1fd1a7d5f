"""The upstreams that the settings file declares for an endpoint: what the edge reaches itself."""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field, PlainValidator

from portico.agent.upstream import Upstream, UpstreamScheme, parse_upstream
from portico.certificates.system_authorities import system_authorities
from portico.edge.balancing_settings import parse_zone
from portico.edge.settings_part import Setting, SettingsPart
from portico.edge.settings_values import explained, parse_domain, parse_ip, read_pem
from portico.model.endpoint import AddressTls, HostPort
from portico.model.weight import MAX_WEIGHT
from portico.model.x509 import read_authorities

_SPOKEN: Final = {
    True: (UpstreamScheme.HTTP, UpstreamScheme.HTTPS),
    False: (UpstreamScheme.TCP, UpstreamScheme.TLS),
}
"""How upstreams are spoken to, for endpoints that speak HTTP and for others."""


def spelled_out(value: object) -> object:
    """`- http://10.0.0.5:8080` is short for an object with that URL."""
    return value if isinstance(value, dict | UpstreamSettings) else {"url": value}


def _parse_upstream_url(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not an upstream: write http://HOST:PORT, https://HOST or HOST:PORT")  # noqa: TRY004
    _read_upstream(str(value), http=True)
    return str(value)


def _read_upstream(text: str, *, http: bool) -> Upstream:
    return explained(parse_upstream, text, http=http)


def _host(text: str) -> str:
    """A name in its one spelling, or an IP address, which must have no zone."""
    return parse_ip(text) if ":" in text or text.rpartition(".")[2].isdecimal() else parse_domain(text)


class UpstreamSettings(SettingsPart):
    """A service that the edge reaches itself."""

    url: Annotated[str, PlainValidator(_parse_upstream_url), Setting("URL", "required")]
    """`http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT`; for tls and tcp endpoints `tls://HOST:PORT` too."""
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT), Setting("N")] = 1
    """Its share of the load beside the others'; an agent's is 1, or its own `pool_weight`."""
    zone: Annotated[str, PlainValidator(parse_zone), Setting("NAME", "none")] = ""
    """Where it stands, for the shares of zones in balancing."""
    priority: Annotated[int, Field(ge=0, le=100), Setting("N")] = 0
    """It is for when too few of those with a lower number are healthy; an agent's is 0."""
    ca_file: Annotated[str | None, PlainValidator(read_pem), Setting("FILE", "the system's")] = None
    """Authorities that its certificate must come from, PEM (a relative path starts at the settings file)."""
    server_name: Annotated[str, Setting("NAME", "the URL's host")] = ""
    """Name that its certificate must be for, and that it is asked for."""

    def address(self, *, http: bool) -> HostPort:
        """The same as an endpoint has it. Raises ValueError."""
        upstream = _read_upstream(self.url, http=http)
        if upstream.scheme not in _SPOKEN[http]:
            fit = " and ".join(f"{scheme}://" for scheme in _SPOKEN[http])
            raise ValueError(f"upstream {self.url!r} does not fit the endpoint, whose upstreams are {fit}")
        if not upstream.uses_tls and (self.ca_file or self.server_name):
            raise ValueError(
                f"upstream {self.url!r} is not spoken to in TLS: ca_file and server_name mean nothing to it"
            )
        host = _host(upstream.host)
        tls = self._tls(host) if upstream.uses_tls else None
        return HostPort(host, upstream.port, self.weight, tls, self.zone, self.priority)

    def _tls(self, host: str) -> AddressTls:
        if self.ca_file is None and system_authorities() is None:
            raise ValueError(f"upstream {self.url!r}: this machine has no file of trusted authorities; give ca_file")
        if self.ca_file is not None:
            explained(read_authorities, self.ca_file, now=datetime.now(UTC), where="ca_file")
        return AddressTls(_host(self.server_name) if self.server_name else host, self.ca_file)
