"""A real Envoy with a fixed configuration in front of a relay: ends agents' TLS, or speaks HTTP to one bind."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portico.envoy.binary import envoy_binary

Resource = dict[str, Any]


def make_certificate(directory: Path) -> tuple[Path, Path, Path]:
    """Paths of a new CA, and of a certificate of it for localhost and 127.0.0.1 with its key."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay test CA")])
    now = datetime.datetime.now(datetime.UTC)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        draft = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        draft = draft.serial_number(x509.random_serial_number())
        return draft.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=30)
        )

    authority = builder(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), key.public_key())
    leaf = leaf.add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    paths = directory / "ca.pem", directory / "leaf.pem", directory / "leaf.key"
    paths[0].write_bytes(authority.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    paths[1].write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    paths[2].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


def _any(kind: str, **fields: object) -> Resource:
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def _pipe(name: str, path: str, **fields: object) -> Resource:
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **fields,
    }


def agents_front(port: int, agents_socket: str, certificate: Path, key: Path) -> tuple[Resource, Resource]:
    """Listener and cluster that end agents' TLS and tell the relay their addresses."""
    tls = _any(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_certificates": [
                {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
            ]
        },
    )
    proxy = _any("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="agents", cluster="agents")
    listener = {
        "name": "agents",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [{"name": "tcp_proxy", "typed_config": proxy}],
                "transport_socket": {"name": "tls", "typed_config": tls},
            }
        ],
    }
    raw = {"name": "raw", "typed_config": _any("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}
    header = _any(
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        config={"version": "V2"},
        transport_socket=raw,
    )
    return listener, _pipe("agents", agents_socket, transport_socket={"name": "proxy_protocol", "typed_config": header})


def http_front(port: int, bind_socket: str) -> tuple[Resource, Resource]:
    """Listener and cluster that send HTTP/1.1 requests to a bind over pooled connections."""
    manager = _any(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="visitors",
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "bind", "timeout": "0s"}}],
                }
            ]
        },
        http_filters=[{"name": "router", "typed_config": _any("envoy.extensions.filters.http.router.v3.Router")}],
    )
    listener = {
        "name": "visitors",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    breakers = {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]}
    return listener, _pipe("bind", bind_socket, circuit_breakers=breakers)


@contextlib.asynccontextmanager
async def envoy(directory: Path, *parts: tuple[Resource, Resource]) -> AsyncIterator[None]:
    """Run Envoy with these listeners and clusters; they accept connections when this yields."""
    listeners, clusters = zip(*parts, strict=True)
    config = {"static_resources": {"listeners": listeners, "clusters": clusters}}
    path = directory / f"envoy-{listeners[0]['name']}.json"
    path.write_text(json.dumps(config))
    with path.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            envoy_binary(), "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning",
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for listener in listeners:
            await _listening(listener["address"]["socket_address"]["port_value"], process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
    raise AssertionError("Envoy ended; its log tells why")
