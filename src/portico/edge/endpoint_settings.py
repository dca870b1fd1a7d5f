"""The endpoints that the settings file declares: served by labelled tunnels, or by what the edge reaches itself.

One with nothing but a traffic policy is a cloud endpoint; one without even that has rules, for the agents that bring
it online.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, SecretStr, field_validator, model_validator

from portico.edge.balancing_settings import (
    BalancingSettings,
    HealthCheckSettings,
    LimitSettings,
    OutlierSettings,
    balancing,
)
from portico.edge.bind_request import BindRequest
from portico.edge.checked_tls import checked_tls
from portico.edge.declared_policy import read_inline_policy, read_policy_file, refuse_endless
from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.route_settings import MAX_ROUTES, RouteSettings, declared_routes
from portico.edge.settings_part import Setting, SettingsPart, TlsMinimum
from portico.edge.settings_values import explained, parse_url, read_pem, read_secret_pem
from portico.edge.upstream_settings import UpstreamSettings, spelled_out
from portico.model.balancing import Balancing
from portico.model.endpoint import EdgeTls, EndpointUrl, KeyPair, Scheme, TlsVersion

if TYPE_CHECKING:
    from portico.policy.actions import TerminateTls

MAX_UPSTREAMS: Final = 1_000
RULES: Final = {"balancing", "health_check", "outlier", "limits"}
_TLS_FIELDS: Final = {"certificate_file", "key_file", "client_ca_file", "tls_min_version"}
_HTTP: Final = (Scheme.HTTP, Scheme.HTTPS)


class EndpointSettings(SettingsPart):
    """An endpoint that is served by labelled tunnels, or by upstreams that the edge reaches itself."""

    url: Annotated[EndpointUrl, PlainValidator(parse_url), Setting("URL", "required")]
    """Public URL."""
    labels: Annotated[dict[str, str] | None, Setting("mapping", "none")] = None
    """Labels that a tunnel must have, all of them, to serve it."""
    upstreams: Annotated[
        tuple[Annotated[UpstreamSettings, BeforeValidator(spelled_out)], ...],
        Field(max_length=MAX_UPSTREAMS),
        Setting("list", "none"),
    ] = ()
    """Services that the edge reaches itself: URLs, or objects with url, weight, ca_file, server_name."""
    routes: Annotated[tuple[RouteSettings, ...], Field(max_length=MAX_ROUTES), Setting("list", "none")] = ()
    """Requests that go elsewhere; the others go to upstreams, if there are any."""
    upstream_protocol: Annotated[Literal["http1", "http2"], Setting("http1|http2")] = "http1"
    """HTTP version to speak to the upstreams of an http or https endpoint; http2 is for gRPC."""
    host_header: Annotated[str | None, Setting("TEXT", "the visitor's")] = None
    """Host header that upstreams see, for http and https."""
    proxy_protocol: Annotated[bool, Setting("true|false")] = False
    """Whether each connection to an upstream begins with a PROXY v2 header, which tells the visitor's address."""
    pooling: Annotated[bool, Setting("true|false")] = False
    """Whether agents that ask for the same URL with pooling join these upstreams."""
    terminate_at: Annotated[Literal["edge", "upstream"] | None, Setting("edge|upstream", "upstream for tls")] = None
    """Where the visitor's TLS ends on a tls endpoint; on an https endpoint it ends at the edge."""
    certificate_file: Annotated[str | None, PlainValidator(read_pem), Setting("FILE", "automatic")] = None
    """Certificate chain for visitors, PEM, where TLS ends at the edge; needs key_file."""
    key_file: Annotated[SecretStr | None, PlainValidator(read_secret_pem), Setting("FILE", "none")] = None
    """Its private key, PEM."""
    client_ca_file: Annotated[str | None, PlainValidator(read_pem), Setting("FILE", "none")] = None
    """Authorities one of which must have signed the visitor's certificate, and their CRLs, PEM."""
    tls_min_version: Annotated[TlsMinimum, Setting("1.2|1.3")] = TlsVersion.TLS_1_2
    """Lowest TLS version of visitors, where TLS ends at the edge."""
    traffic_policy: Annotated[
        str | None, PlainValidator(read_inline_policy), Field(repr=False), Setting("object or text", "none")
    ] = None
    """What is done with each request; without upstreams and routes it answers alone, or forwards."""
    traffic_policy_file: Annotated[
        str | None, PlainValidator(read_policy_file), Field(repr=False), Setting("FILE", "none")
    ] = None
    """File with the policy, in place of traffic_policy; SIGHUP reads it again."""

    balancing: Annotated[BalancingSettings | None, Setting("object", "least requests")] = None
    """How the load is spread over its addresses, agents among them."""
    health_check: Annotated[HealthCheckSettings | None, Setting("object", "none")] = None
    """Asks every address whether it is well."""
    outlier: Annotated[OutlierSettings | None, Setting("object", "in pools, as below")] = None
    """Which failures that visitors meet put an address out for a while."""
    limits: Annotated[LimitSettings | None, Setting("object", "none")] = None
    """How much may be under way at once."""

    @field_validator("labels", mode="after")
    @classmethod
    def _any_label(cls, labels: dict[str, str] | None) -> dict[str, str] | None:
        if labels is not None and not labels:
            raise ValueError("give at least one label")
        return labels

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.labels is not None and self.upstreams:
            raise ValueError(f"{self.url} needs labels (of tunnels) or upstreams, one of the two")
        if self.labels is None and not self.is_declared and not self.model_fields_set & RULES:
            rules = ", ".join(sorted(RULES))
            either = "labels (of tunnels) or upstreams, one of the two, a traffic_policy"
            raise ValueError(f"{self.url} needs {either}, or rules ({rules})")
        beside = self.model_fields_set - {"url", "labels", "upstreams", *RULES}
        if (self.labels is not None or not self.is_declared) and beside:
            raise ValueError(f"{', '.join(sorted(beside))}: only for an endpoint with upstreams or routes")
        self.rules()
        self._check_policy()
        if self.is_declared:
            self.request()
        return self

    @property
    def is_declared(self) -> bool:
        """Whether it is online without any agent."""
        return bool(self.upstreams or self.routes or self.policy)

    @property
    def policy(self) -> str | None:
        """The text of its traffic policy."""
        return self.traffic_policy or self.traffic_policy_file

    def rules(self) -> Balancing:
        """How the load of the endpoint is spread, whoever serves it. Raises ValueError."""
        version = 0
        if self.url.scheme in _HTTP:
            # What agents' upstreams speak is said by the agents.
            version = 2 if not self.upstreams or self.upstream_protocol == "http2" else 1
        return balancing(self.balancing, self.health_check, self.outlier, self.limits, http=version)

    def request(self) -> BindRequest:
        """What is asked of the registry, for an endpoint with upstreams or routes. Raises ValueError."""
        http = self.url.scheme in _HTTP
        if not http and self.model_fields_set & {"upstream_protocol", "host_header"}:
            raise ValueError(f"upstream_protocol and host_header are for http and https, not for {self.url}")
        addresses = tuple(upstream.address(http=http) for upstream in self.upstreams)
        routes, led = declared_routes(self.routes, http=http)
        policy = explained(endpoint_policy, [self.policy or ""], self.url.scheme)
        if not http and routes and self.upstreams:
            raise ValueError(f"{self.url}: all connections go where the route leads; give routes or upstreams")
        return BindRequest(
            self.url.scheme,
            self.url.host,
            self.url.port if self.url.scheme is Scheme.TCP else None,
            tls=self._tls_of(policy.terminate) if policy.terminate else self._tls(),
            networks=policy.networks,
            traffic_policy=policy.text,
            cloud=not addresses and not routes,
            upstream_http=2 if self.upstream_protocol == "http2" else 1,
            proxy_protocol=2 if self.proxy_protocol else 0,
            host_header=self.host_header,
            pooling=self.pooling,
            forwards_to=", ".join([*(upstream.url for upstream in self.upstreams), *self._led_to()]),
            upstreams=addresses,
            routes=routes,
            pools=led,
        )

    def _led_to(self) -> Iterable[str]:
        places = [place for route in self.routes for place in route.backends]
        return dict.fromkeys(text for place in places for text in place.shown())

    def _check_policy(self) -> None:
        if self.traffic_policy and self.traffic_policy_file:
            raise ValueError("traffic_policy and traffic_policy_file exclude each other")
        if not self.policy or self.upstreams or self.routes:
            return
        refuse_endless(self.policy, self.url)

    def _tls_of(self, terminate: "TerminateTls") -> EdgeTls:
        given = self.model_fields_set & {"terminate_at", *_TLS_FIELDS}
        if given:
            raise ValueError(f"{', '.join(sorted(given))}: the policy's {terminate.TYPE} says what TLS is to use")
        if self.url.scheme not in (Scheme.HTTPS, Scheme.TLS):
            raise ValueError(f"{self.url} has no TLS that could end at the edge, as {terminate.TYPE} says")
        return explained(
            checked_tls,
            terminate.edge_tls(),
            TlsVersion.TLS_1_2,
            pair_at="server_certificate",
            authorities_at="mutual_tls_certificate_authorities",
        )

    def _tls(self) -> EdgeTls | None:
        given = self.model_fields_set & _TLS_FIELDS
        if self.url.scheme is not Scheme.TLS and self.terminate_at is not None:
            raise ValueError(f"terminate_at is for tls endpoints, not for {self.url}")
        if self.url.scheme is not Scheme.HTTPS and self.terminate_at != "edge":
            if given:
                raise ValueError(f"{', '.join(sorted(given))}: TLS of {self.url} does not end at the edge")
            return None
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; give both or none")
        pair = None
        if self.certificate_file and self.key_file:
            pair = KeyPair(self.certificate_file, self.key_file.get_secret_value())
        wanted = EdgeTls(pair, self.client_ca_file, minimum=self.tls_min_version)
        lowest = TlsVersion.TLS_1_2
        return explained(checked_tls, wanted, lowest, pair_at="certificate_file", authorities_at="client_ca_file")


def refuse_chains(endpoints: Iterable[EndpointSettings], named: Callable[[EndpointUrl], EndpointUrl]) -> None:
    """A route leads to what serves an endpoint, never to other routes: so there are no loops. Raises ValueError."""
    listed = list(endpoints)
    routed = {named(endpoint.url) for endpoint in listed if endpoint.routes}
    for endpoint in listed:
        places = [place for route in endpoint.routes for place in (*route.backends, *route.mirror)]
        for url in [place.endpoint for place in places if place.endpoint is not None]:
            if named(url) in routed:
                raise ValueError(
                    f"a route of {endpoint.url} leads to {url}, which has routes itself: name its backends"
                )
