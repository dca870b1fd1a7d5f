"""From what files and flags say to the agent's own values: the one place where the two vocabularies meet."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from portico.agent.bind import BindKind, BindRequest, HttpOptions, SignIn
from portico.agent.settings import AgentTls
from portico.agent.termination import AskPassphrase, Termination
from portico.agent.upstream import Upstream, parse_upstream
from portico.agent.upstream_tls import UpstreamTls
from portico.cli.config.models import Document, EndpointKeys, HeaderChange, Networked, OAuth, Oidc, Tunnel
from portico.cli.config.pem import read_authorities, read_certificates, read_key, read_key_pair
from portico.cli.config.traffic_policy import policy_text
from portico.model.errors import OPTION_INVALID, UPSTREAM_INVALID, PorticoError
from portico.model.tls import TlsVersion
from portico.model.url import EndpointUrl
from portico.model.value import Value

_SCHEMES: Final = {"http": ("http", "https"), "tls": ("tls",), "tcp": ("tcp",)}


class Forwarding(Value, frozen=True, kw_only=True):
    """One endpoint to start: what to ask the edge for, and where its traffic ends."""

    name: str
    """What people call it here: the name in the file, or `command_line`."""
    bind: BindRequest
    upstream: Upstream
    upstream_tls: UpstreamTls
    agent_tls: AgentTls | None
    inspect: bool


def named_entries(document: Document) -> dict[str, Tunnel | EndpointKeys]:
    """Everything that the file can start, by name."""
    return {**document.tunnels, **{endpoint.name: endpoint for endpoint in document.endpoints}}


def entry_forwardings(
    name: str, entry: Tunnel | EndpointKeys, ask: AskPassphrase | None = None
) -> tuple[Forwarding, ...]:
    """What to start for an entry of the file. Raises PorticoError that names the entry."""
    try:
        return forwardings(name, as_tunnel(entry) if isinstance(entry, EndpointKeys) else entry, ask)
    except PorticoError as error:
        raise PorticoError(error.code, f"{name}: {error.message}", fix=error.fix) from None


def described_forwardings(description: dict[str, Any]) -> tuple[Forwarding, ...]:
    """What to start for one entry of `endpoints:` or `tunnels:` that a program wrote as JSON. Raises PorticoError."""
    import json

    from portico.cli.config.document import validate
    from portico.yaml_source import parse

    name = str(description.get("name") or "")
    if "upstream" in description:
        document: dict[str, Any] = {"version": 3, "endpoints": [description]}
    else:
        tunnel = {key: value for key, value in description.items() if key != "name"}
        document = {"version": 2, "tunnels": {name or "endpoint": tunnel}}
    # JSON is YAML, and so everything is checked as in a file.
    [(name, entry)] = named_entries(validate([parse(json.dumps(document, ensure_ascii=False), "request")])).items()
    return entry_forwardings(name, entry)


def as_tunnel(endpoint: EndpointKeys) -> Tunnel:
    """An entry of `endpoints:` in the words of `tunnels:`; its URL's scheme tells the kind. Raises PorticoError."""
    scheme = urlsplit(endpoint.url or "").scheme if "://" in (endpoint.url or "") else "https"
    tls = endpoint.agent_tls_termination
    upstream = endpoint.upstream
    known = {name: kind for kind, schemes in _SCHEMES.items() for name in schemes}
    if scheme not in known:
        raise PorticoError(OPTION_INVALID, f"the scheme {scheme!r} is none of {', '.join(known)}")
    return Tunnel(
        **{name: value for name, value in vars(endpoint).items() if name in Tunnel.known},
        proto=known[scheme],
        addr=upstream.url,
        upstream_protocol=upstream.protocol,
        upstream_proxy_protocol=upstream.proxy_protocol,
        upstream_tls_verify=upstream.tls_verify,
        upstream_tls_verify_cas=upstream.tls_verify_cas,
        upstream_tls_server_name=upstream.tls_server_name,
        upstream_tls_min_version=upstream.tls_min_version,
        upstream_client_crt=upstream.client_certificate,
        upstream_client_key=upstream.client_private_key,
        upstream_client_key_passphrase_file=upstream.client_private_key_passphrase_file,
        terminate_at="agent" if tls else None,
        crt=tls.server_certificate if tls else None,
        key=tls.server_private_key if tls else None,
        key_passphrase_file=tls.server_private_key_passphrase_file if tls else None,
        crt_any_domain=bool(tls and tls.any_domain),
        mutual_tls_cas=tls.mutual_tls_certificate_authorities if tls else (),
    )


def forwardings(name: str, tunnel: Tunnel, ask: AskPassphrase | None = None) -> tuple[Forwarding, ...]:
    """What to start for an entry: one endpoint, or two where `schemes` asks for http and https.

    `ask` is a person to ask for the passphrases of keys. Raises PorticoError.
    """
    if tunnel.addr is None:
        raise PorticoError(UPSTREAM_INVALID, "addr is missing")
    kind = _kind(tunnel)
    upstream = parse_upstream(tunnel.addr, http=kind is None or kind == "http")
    upstream_tls = _upstream_tls(tunnel, ask)
    if not upstream.uses_tls:
        upstream_tls.refuse_without_tls(str(upstream))
    bind = _bind(tunnel, upstream)
    binds = (
        [replace(bind, kind=BindKind.LABELED, labels=_labels(tunnel))] if kind is None else _named(bind, tunnel, kind)
    )
    termination = _termination(tunnel, ask)
    made: list[Forwarding] = []
    for each in binds:
        agent_tls, terminated = termination.apply(each, EndpointUrl.parse(each.url).host if each.url else "")
        made.append(
            Forwarding(
                name=f"{name} ({each.kind})" if made else name,
                bind=terminated,
                upstream=upstream,
                upstream_tls=upstream_tls,
                agent_tls=agent_tls,
                inspect=tunnel.inspect and each.kind.is_http,
            )
        )
    return tuple(made)


def _kind(tunnel: Tunnel) -> str | None:
    if tunnel.labels and tunnel.proto:
        raise PorticoError(OPTION_INVALID, "proto and labels exclude each other")
    if not tunnel.labels and not tunnel.proto:
        raise PorticoError(OPTION_INVALID, "proto is missing; give http, tls or tcp")
    return tunnel.proto


def _named(bind: BindRequest, tunnel: Tunnel, kind: str) -> Iterable[BindRequest]:
    """`bind` under its URL, for each scheme asked for."""
    ways = {
        "url": tunnel.url,
        "domain": tunnel.domain,
        "hostname": tunnel.hostname,
        "subdomain": tunnel.subdomain,
        "remote_addr": tunnel.remote_addr,
    }
    used = [way for way, value in ways.items() if value]
    if len(used) > 1:
        raise PorticoError(OPTION_INVALID, f"{' and '.join(used)} exclude each other; give url alone")
    text = ways[used[0]] if used else None
    schemes: tuple[str, ...] = tunnel.schemes or _SCHEMES[kind][-1:]
    if text is not None and "://" in text:
        scheme, _, text = text.partition("://")
        if scheme not in _SCHEMES[kind] or (tunnel.schemes and scheme not in tunnel.schemes):
            asked = " or ".join(tunnel.schemes or _SCHEMES[kind])
            other = next((verb for verb, schemes in _SCHEMES.items() if scheme in schemes and verb != kind), None)
            raise PorticoError(
                OPTION_INVALID,
                f"the URL's scheme {scheme!r} does not fit: {asked} is asked for",
                fix=f"`portico {other}` makes such endpoints."
                if other and not tunnel.schemes
                else f"Write {asked.split()[0]}://….",
            )
        schemes = (scheme,)
    subdomain = text if used == ["subdomain"] else ""
    for scheme in dict.fromkeys(schemes):
        url = str(EndpointUrl.parse(f"{scheme}://{text}")) if text and not subdomain else ""
        yield replace(bind, kind=BindKind(scheme), url=url, subdomain=subdomain or "")


def _bind(tunnel: Tunnel, upstream: Upstream) -> BindRequest:
    if tunnel.proxy_proto and tunnel.upstream_proxy_protocol:
        raise PorticoError(OPTION_INVALID, "proxy_proto and upstream_proxy_protocol exclude each other")
    networks = tunnel.ip_restriction or Networked()
    return BindRequest(
        kind=BindKind.HTTPS,
        name=tunnel.name,
        description=tunnel.description,
        metadata=tunnel.metadata,
        forwards_to=str(upstream),
        app_protocol=tunnel.upstream_protocol or "",
        bindings=tunnel.bindings,
        pooling=tunnel.pooling_enabled,
        pool_weight=tunnel.pool_weight,
        proxy_protocol=int(tunnel.upstream_proxy_protocol or tunnel.proxy_proto or 0),
        traffic_policy=policy_text(tunnel),
        allow_cidrs=networks.allow_cidrs,
        deny_cidrs=networks.deny_cidrs,
        http=_http_options(tunnel, upstream),
    )


def _http_options(tunnel: Tunnel, upstream: Upstream) -> HttpOptions:
    requests, answers = tunnel.request_header or HeaderChange(), tunnel.response_header or HeaderChange()
    agents = tunnel.user_agent_filter
    webhook = tunnel.verify_webhook
    users = (credential.reveal().partition(":") for credential in tunnel.basic_auth)
    return HttpOptions(
        basic_auth=tuple((name, password) for name, _, password in users),
        circuit_breaker=tunnel.circuit_breaker or 0.0,
        compression=tunnel.compression,
        oauth=_sign_in(tunnel.oauth),
        oidc=_sign_in(tunnel.oidc),
        webhook_provider=webhook.provider if webhook else "",
        webhook_secret=webhook.secret.reveal() if webhook else "",
        request_header_add=(*_pairs(requests.add), *_host_header(tunnel, upstream)),
        request_header_remove=requests.remove,
        response_header_add=_pairs(answers.add),
        response_header_remove=answers.remove,
        allow_user_agents=agents.allow if agents else (),
        deny_user_agents=agents.deny if agents else (),
        websocket_tcp_converter=tunnel.websocket_tcp_converter,
    )


def _host_header(tunnel: Tunnel, upstream: Upstream) -> tuple[tuple[str, str], ...]:
    """ngrok's agents ask for another Host header as a header to add."""
    if tunnel.host_header in (None, "", "preserve"):
        return ()
    own = str(upstream).partition("://")[2] if upstream.host else "localhost"
    return (("host", own if tunnel.host_header == "rewrite" else str(tunnel.host_header)),)


def _sign_in(keys: OAuth | Oidc | None) -> SignIn | None:
    if keys is None:
        return None
    return SignIn(
        provider=keys.provider if isinstance(keys, OAuth) else "",
        issuer_url=keys.issuer_url if isinstance(keys, Oidc) else "",
        client_id=keys.client_id,
        client_secret=keys.client_secret.reveal(),
        allow_emails=keys.allow_emails,
        allow_domains=keys.allow_domains,
        scopes=keys.scopes,
    )


def _pairs(lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))


def _upstream_tls(tunnel: Tunnel, ask: AskPassphrase | None) -> UpstreamTls:
    authorities = read_certificates(tunnel.upstream_tls_verify_cas)
    if authorities is not None:
        from portico.model import x509

        x509.read_authorities(authorities, now=datetime.now(UTC), where="upstream_tls_verify_cas")
    return UpstreamTls(
        verify=tunnel.upstream_tls_verify,
        authorities=authorities,
        server_name=tunnel.upstream_tls_server_name,
        minimum=TlsVersion(tunnel.upstream_tls_min_version),
        key_pair=read_key_pair(
            tunnel.upstream_client_crt,
            tunnel.upstream_client_key,
            tunnel.upstream_client_key_passphrase_file,
            ask,
        ),
    )


def _termination(tunnel: Tunnel, ask: AskPassphrase | None) -> Termination:
    return Termination(
        at=tunnel.terminate_at,
        certificate=read_certificates(tunnel.crt),
        key=read_key(tunnel.key, tunnel.key_passphrase_file, ask),
        authorities=read_authorities(tunnel.mutual_tls_cas),
        any_domain=tunnel.crt_any_domain,
    )


def _labels(tunnel: Tunnel) -> dict[str, str]:
    if isinstance(tunnel.labels, dict):
        return tunnel.labels
    labels = dict(label.partition("=")[::2] for label in tunnel.labels)
    if not all(labels) or not all(labels.values()):
        raise PorticoError(OPTION_INVALID, "labels are written key=value")
    return labels
