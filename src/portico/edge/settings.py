"""Every setting of an edge, declared once.

From this declaration come the flags of `portico edge`, the keys of its YAML file, the variables `PORTICO_EDGE_<NAME>`
and the reference page. `settings_sources.py` reads them; nothing else in the edge looks at the environment.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar, get_origin

from pydantic import BaseModel, Field, PlainValidator, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo

from portico.certificates.acme_rules import LETS_ENCRYPT, AcmeDirectory, AcmeRules
from portico.edge.acme_settings import AcmeDirectorySettings, AcmeDnsSettings
from portico.edge.balancing_settings import (
    BalancingSettings,
    HealthCheckSettings,
    LimitSettings,
    OutlierSettings,
)
from portico.edge.endpoint_settings import EndpointSettings, refuse_chains
from portico.edge.geoip_settings import parse_databases
from portico.edge.limit_settings import VisitorLimitSettings
from portico.edge.naming import Naming
from portico.edge.observability_settings import ObservabilitySettings
from portico.edge.route_settings import ROUTE_PARTS
from portico.edge.settings_part import Limit, Seconds, Setting, SettingsPart, TlsMinimum
from portico.edge.settings_values import (
    PortRange,
    explained,
    parse_address,
    parse_authtoken,
    parse_challenges,
    parse_database,
    parse_domain,
    parse_email,
    parse_ip,
    parse_name,
    parse_networks,
    parse_optional_address,
    parse_owner_name,
    parse_path,
    parse_port_range,
    parse_switch,
    read_authtoken,
    read_database,
)
from portico.edge.upstream_settings import UpstreamSettings
from portico.model.acme import ChallengeKind
from portico.model.edge import SocketAddress
from portico.model.endpoint import TlsVersion
from portico.model.geoip import GeoDatabases
from portico.model.owner import DEFAULT_OWNER, DeclaredOwner

_T = TypeVar("_T")


def _is_root() -> bool:
    return os.geteuid() == 0


def _default_data_dir() -> Path:
    """The XDG data home (XDG Base Directory Specification: a relative value is to be ignored)."""
    home = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "share") / "portico" / "edge"


def _processors() -> int:
    """Processors that this process may run on (a container's CPU set counts, where the system tells)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _repeated(values: Iterable[_T]) -> list[_T]:
    return [value for value, count in Counter(values).items() if count > 1]


class OwnerSettings(SettingsPart):
    """An owner: who may connect with which authtoken, the domains reserved for him, and his limits."""

    name: Annotated[str, PlainValidator(parse_owner_name), Setting("NAME", "required")]
    """Name of the owner, unique on this edge."""
    authtoken: Annotated[SecretStr | None, PlainValidator(parse_authtoken), Setting("TOKEN", "none")] = None
    """Token that the owner's agents connect with: any text of 16 characters or more."""
    authtoken_file: Annotated[SecretStr | None, PlainValidator(read_authtoken), Setting("FILE", "none")] = None
    """File that holds the token instead (a relative path starts at the settings file)."""
    domains: Annotated[tuple[Annotated[str, PlainValidator(parse_name)], ...], Setting("list of names", "none")] = ()
    """Names and wildcards (`*.example.com`) that only this owner may use."""
    max_sessions: Annotated[Limit | None, Setting("N", "the edge's")] = None
    """Sessions that this owner may have at once."""
    max_endpoints: Annotated[Limit | None, Setting("N", "the edge's")] = None
    """Endpoints that this owner may have online at once."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        given = sum(token is not None for token in (self.authtoken, self.authtoken_file))
        if given > 1:
            raise ValueError(f"owner {self.name!r} has both authtoken and authtoken_file; keep one")
        if given == 0 and self.name != DEFAULT_OWNER:
            raise ValueError(f"owner {self.name!r} has no token; give authtoken or authtoken_file")
        return self

    def declared(self) -> DeclaredOwner:
        """The same as the store takes it."""
        token = self.authtoken or self.authtoken_file
        return DeclaredOwner(
            name=self.name,
            authtoken=token.get_secret_value() if token else None,
            domains=self.domains,
            max_sessions=self.max_sessions,
            max_endpoints=self.max_endpoints,
        )


DEFAULT_CHALLENGES: Final = (ChallengeKind.TLS_ALPN, ChallengeKind.HTTP, ChallengeKind.DNS)
LogLevel = Literal["debug", "info", "warning", "error"]


class NodeSettings(SettingsPart):
    """What a node is, and for whom."""

    config: Annotated[Path | None, PlainValidator(parse_path), Setting("FILE", "none", file=False)] = None
    """YAML file with settings, and with owners and endpoints."""
    domain: Annotated[str, PlainValidator(parse_domain), Setting("NAME")] = "localhost"
    """Name that this edge is reached under: agents dial connect.NAME, random endpoints are <words>.NAME."""
    https_addr: Annotated[
        SocketAddress,
        PlainValidator(parse_address),
        Setting("IP:PORT", "0.0.0.0:443 for root, 0.0.0.0:8443 for others"),
    ] = Field(default_factory=lambda: parse_address(":443" if _is_root() else ":8443"))
    """Address for visitors over TLS, agents and the API; port 0 takes a free one."""
    http_addr: Annotated[
        SocketAddress | None,
        PlainValidator(parse_optional_address),
        Setting("IP:PORT|off", "0.0.0.0:80 for root, 0.0.0.0:8080 for others"),
    ] = Field(default_factory=lambda: parse_address(":80" if _is_root() else ":8080"))
    """Address for visitors without TLS; port 0 takes a free one, `off` serves none."""
    ssh_addr: Annotated[
        SocketAddress | None, PlainValidator(parse_optional_address), Setting("IP:PORT|off", "0.0.0.0:2222")
    ] = Field(default_factory=lambda: parse_address(":2222"))
    """Address for `ssh -R` of stock SSH clients; port 0 takes a free one, `off` serves none."""
    tcp_ports: Annotated[PortRange, PlainValidator(parse_port_range), Setting("A-B")] = PortRange(20_000, 20_999)
    """Ports that tcp endpoints may use, both ends included."""
    tcp_host: Annotated[str, PlainValidator(parse_ip), Setting("IP")] = "0.0.0.0"  # noqa: S104
    """IP that tcp endpoints listen on."""
    tls_min_version: Annotated[TlsMinimum, Setting("1.2|1.3")] = TlsVersion.TLS_1_2
    """Lowest TLS version that visitors and agents may speak; an endpoint may demand more, never less."""
    admin_addr: Annotated[SocketAddress, PlainValidator(parse_address), Setting("IP:PORT")] = SocketAddress(
        "127.0.0.1", 4041
    )
    """Address of /metrics, /healthz and /readyz; they ask for no credentials. Port 0 takes a free one."""
    data_dir: Annotated[
        Path, PlainValidator(parse_path), Setting("DIR", "$XDG_DATA_HOME/portico/edge (~/.local/share/portico/edge)")
    ] = Field(default_factory=_default_data_dir)
    """Directory for the store, the certificate authority and the first credentials."""
    database: Annotated[
        SecretStr | None, PlainValidator(parse_database), Setting("URL", "a file in the data directory", secret=True)
    ] = None
    """PostgreSQL database that several nodes share: `postgresql://user:password@host:port/name?sslmode=verify-full`."""
    database_file: Annotated[SecretStr | None, PlainValidator(read_database), Setting("FILE", "none", secret=True)] = (
        None
    )
    """File that holds that URL instead (a relative path starts at the settings file)."""
    relays: Annotated[int, Field(ge=1, le=64), Setting("N")] = 1
    """Relay processes, which carry the agents' sessions; each uses one processor at most."""
    envoy_concurrency: Annotated[int, Field(ge=1, le=1024), Setting("N", "number of processors")] = Field(
        default_factory=_processors
    )
    """Worker threads of Envoy."""
    log_level: Annotated[LogLevel, Setting("debug|info|warning|error")] = "info"
    """Least important log records that are written."""
    log_format: Annotated[Literal["term", "logfmt", "json"], Setting("term|logfmt|json")] = "term"
    """Form of the log lines."""
    drain_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False), Setting("SECONDS")] = 20
    """Time that connections have to end by themselves after SIGTERM."""
    max_sessions: Annotated[Limit, Setting("N")] = 1_000
    """Sessions that one owner may have at once."""
    max_endpoints: Annotated[Limit, Setting("N")] = 20_000
    """Endpoints that one owner may have online at once."""
    heartbeat_interval_min: Annotated[Seconds, Setting("SECONDS")] = 1
    """Shortest time between heartbeats that an agent may ask for."""
    heartbeat_interval_max: Annotated[Seconds, Setting("SECONDS")] = 300
    """Longest time between heartbeats that an agent may ask for."""
    heartbeat_tolerance_min: Annotated[Seconds, Setting("SECONDS")] = 1
    """Shortest silence beyond the interval, that ends a session, that an agent may ask for."""
    heartbeat_tolerance_max: Annotated[Seconds, Setting("SECONDS")] = 300
    """Longest silence beyond the interval, that ends a session, that an agent may ask for."""
    policy_networks: Annotated[tuple[str, ...], PlainValidator(parse_networks), Setting("CIDRS", "none")] = ()
    """Networks, beside the public Internet, that policies may reach: sign-in providers, key sets, http-request."""
    geoip_databases: Annotated[GeoDatabases, PlainValidator(parse_databases), Setting("FILES", "none")] = GeoDatabases()
    """Databases in MaxMind's format (City, Country, ASN, Anonymous-IP), for policies that ask where visitors are."""
    tls_fingerprints: Annotated[bool, PlainValidator(parse_switch), Setting("on|off", "off")] = False
    """JA4 fingerprints for policies (`conn.tls.ja4_fingerprint`). They cost every handshake 4 % of Envoy's time."""
    acme: Annotated[bool, PlainValidator(parse_switch), Setting("on|off", "off")] = False
    """Automatic certificates from a public authority for every name served, instead of the edge's own authority."""
    acme_email: Annotated[str, PlainValidator(parse_email), Setting("ADDRESS", "none")] = ""
    """Where the authority writes to; by `acme: on` you agree to its terms."""
    acme_challenges: Annotated[
        tuple[ChallengeKind, ...], PlainValidator(parse_challenges), Setting("KINDS", ",".join(DEFAULT_CHALLENGES))
    ] = DEFAULT_CHALLENGES
    """How control over names is shown, in the order of preference; after a failure the next one is tried."""
    acme_orders_per_hour: Annotated[Limit, Setting("N")] = 100
    """Orders that this edge begins in an hour at most (Let's Encrypt takes 300 in three hours)."""
    acme_retry_seconds: Annotated[Seconds, Setting("SECONDS")] = 60
    """Wait after an order failed; it doubles each time, up to six hours."""
    acme_directories: Annotated[tuple[AcmeDirectorySettings, ...], Setting("list", "Let's Encrypt", flag=False)] = ()
    """Authorities, asked in this order: url, ca_file, eab_kid, eab_hmac_key, profile."""
    acme_dns: Annotated[tuple[AcmeDnsSettings, ...], Setting("list", "none", flag=False)] = ()
    """Who writes DNS records, for dns-01 and wildcards: zones, provider, options, command, wait_seconds."""
    owners: Annotated[tuple[OwnerSettings, ...], Setting("list", "none", flag=False)] = ()
    """Owners besides the `default` one: name, authtoken or authtoken_file, domains, max_sessions, max_endpoints."""
    endpoints: Annotated[tuple[EndpointSettings, ...], Setting("list", "none", flag=False)] = ()
    """Endpoints served by labelled tunnels (url, labels), or by services that the edge reaches itself."""

    @field_validator("owners", mode="after")
    @classmethod
    def _owners_apart(cls, owners: tuple[OwnerSettings, ...]) -> tuple[OwnerSettings, ...]:
        if names := _repeated(owner.name for owner in owners):
            raise ValueError(f"owner {names[0]!r} is declared twice")
        if names := _repeated(domain for owner in owners for domain in owner.domains):
            raise ValueError(f"domain {names[0]!r} is reserved twice")
        tokens = [owner.declared().authtoken for owner in owners]
        if _repeated(token for token in tokens if token is not None):
            raise ValueError("two owners have the same authtoken")
        return owners

    @field_validator("endpoints", mode="after")
    @classmethod
    def _endpoints_apart(cls, endpoints: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        if urls := _repeated(endpoint.url for endpoint in endpoints):
            raise ValueError(f"{urls[0]} is declared twice")
        return endpoints

    @model_validator(mode="after")
    def _endpoints_have_a_place(self) -> Self:
        naming = Naming(
            self.domain,
            self.https_addr.port,
            self.http_addr.port if self.http_addr else None,
            range(self.tcp_ports.first, self.tcp_ports.last + 1),
        )
        for endpoint in self.endpoints:
            explained(naming.asked_for, endpoint.url)
        refuse_chains(self.endpoints, lambda url: explained(naming.asked_for, url))
        return self

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if self.database is not None and self.database_file is not None:
            raise ValueError("both database and database_file are given; keep one")
        return self

    @property
    def database_url(self) -> str | None:
        """The URL of the shared database; None where the store is a file. It is secret."""
        given = self.database or self.database_file
        return given.get_secret_value() if given else None

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.heartbeat_interval_min > self.heartbeat_interval_max:
            raise ValueError("heartbeat_interval_min is greater than heartbeat_interval_max")
        if self.heartbeat_tolerance_min > self.heartbeat_tolerance_max:
            raise ValueError("heartbeat_tolerance_min is greater than heartbeat_tolerance_max")
        return self

    @field_validator("acme_directories", mode="after")
    @classmethod
    def _directories_apart(cls, directories: tuple[AcmeDirectorySettings, ...]) -> tuple[AcmeDirectorySettings, ...]:
        if urls := _repeated(directory.url for directory in directories):
            raise ValueError(f"{urls[0]} is declared twice")
        return directories

    def acme_rules(self) -> AcmeRules | None:
        """The rules of automatic certificates; None where they are off, or no name could have one."""
        if not self.acme:
            return None
        return AcmeRules(
            directories=tuple(one.declared() for one in self.acme_directories) or (AcmeDirectory(LETS_ENCRYPT),),
            email=self.acme_email,
            challenges=tuple(
                kind for kind in self.acme_challenges if self.http_addr is not None or kind is not ChallengeKind.HTTP
            ),
            dns=tuple(one.declared() for one in self.acme_dns),
            orders_per_hour=self.acme_orders_per_hour,
            retry_seconds=self.acme_retry_seconds,
        )


class EdgeSettings(VisitorLimitSettings, ObservabilitySettings, NodeSettings):
    """The settings of one edge node."""


ENVIRONMENT_PREFIX: Final = "PORTICO_EDGE_"
PARTS: Final[dict[str, type[BaseModel]]] = {
    "acme_directories": AcmeDirectorySettings,
    "acme_dns": AcmeDnsSettings,
    "owners": OwnerSettings,
    "endpoints": EndpointSettings,
    "upstreams": UpstreamSettings,
    "balancing": BalancingSettings,
    "health_check": HealthCheckSettings,
    "outlier": OutlierSettings,
    "limits": LimitSettings,
    **ROUTE_PARTS,
}
"""The objects that the file is made of, by the key that they stand under."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as the reference shows it; None where a source cannot give it."""

    name: str
    flag: str | None
    env: str | None
    key: str | None
    type: str
    default: str
    description: str


def reference_rows() -> tuple[SettingRow, ...]:
    """All settings in the order of their declaration; the keys of a list's objects follow it as `owners[].name`."""
    return tuple(_rows(EdgeSettings, ""))


def _rows(part: type[BaseModel], prefix: str) -> Iterator[SettingRow]:
    for name, field in part.model_fields.items():
        setting = next(item for item in field.metadata if isinstance(item, Setting))
        yield _row(prefix + name, field, setting)
        if name in PARTS:
            several = get_origin(field.annotation) is tuple
            yield from _rows(PARTS[name], f"{prefix}{name}{'[]' if several else ''}.")


def _row(name: str, field: FieldInfo, setting: Setting) -> SettingRow:
    given = setting.flag and "." not in name
    return SettingRow(
        name=name,
        flag="--" + name.replace("_", "-") if given and not setting.secret else None,
        env=ENVIRONMENT_PREFIX + name.upper() if given else None,
        key=name if setting.file else None,
        type=setting.kind,
        default=setting.default or str(field.default),
        description=field.description or "",
    )
