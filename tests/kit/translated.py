"""A real Envoy that is fed what `translate` yields, with Unix sockets for upstreams and a CA of its own."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kit.envoy import running_envoy
from kit.ports import free_port
from portico.edge.node import write_script
from portico.envoy.ads import AdsServer
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import Address, EdgeTls, Endpoint, EndpointUrl, KeyPair, UnixSocket
from portico.model.names import is_ip
from portico.translate.endpoints import endpoint_resources
from portico.translate.listeners import frame_resources, https_listener, listener_resources
from portico.translate.names import EDGE_CERTIFICATE
from portico.translate.resource import Resource
from portico.translate.sni import SniTable
from portico.translate.tls import secret_resource, ticket_keys_resource

MARK = "x-mark-of-the-test"
_PAUSE, _PATIENCE = 3.0, 60.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Authority:
    """A certificate authority."""

    def __init__(self, common_name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        draft = self._draft(self._name, self._key.public_key())
        draft = draft.add_extension(x509.BasicConstraints(True, None), critical=True)
        self.pem = draft.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, *hosts: str) -> KeyPair:
        """A leaf for the hosts, fit for both sides of TLS."""
        key = ec.generate_private_key(ec.SECP256R1())
        draft = self._draft(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]), key.public_key())
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address(host)) if is_ip(host) else x509.DNSName(host) for host in hosts]
        )
        leaf = draft.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(leaf.public_bytes(serialization.Encoding.PEM).decode(), private.decode())

    def _draft(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        draft = x509.CertificateBuilder(subject_name=subject, issuer_name=self._name, public_key=key)
        draft = draft.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        return draft.not_valid_after(now + datetime.timedelta(days=30))


@dataclass
class Answer:
    """A response as a visitor got it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass
class TranslatedEdge:
    """Envoy, the ADS server, and what is published."""

    directory: Path
    frame: EdgeFrame
    ads: AdsServer
    authority: Authority
    sockets: list[asyncio.Server] = field(default_factory=list)
    table: SniTable = field(default_factory=SniTable)
    wanted: list[str] = field(default_factory=list)

    @property
    def https(self) -> int:
        """Port of the https listener."""
        return self.frame.https.port

    @property
    def http(self) -> int:
        """Port of the http listener."""
        assert self.frame.http
        return self.frame.http.port

    async def serve(self, handler: Serve, name: str) -> UnixSocket:
        """Serve a Unix socket."""
        path = str(self.directory / f"{name}.sock")
        self.sockets.append(await asyncio.start_unix_server(handler, path))
        return UnixSocket(path)

    async def publish(self, *endpoints: Endpoint) -> None:
        """Publish as an edge does: each endpoint's resources, and the https listener if its matcher changes."""
        resources: list[Resource] = []
        table = self.table
        for endpoint in endpoints:
            resources += endpoint_resources(endpoint, self.frame)
            table = table.with_endpoint(endpoint, self.frame)
        await self._apply(table, resources, [])

    async def replace(self, old: Endpoint | None, new: Endpoint) -> None:
        """Publish as an edge does what an endpoint is now, and remove what it had and has no more."""
        resources = endpoint_resources(new, self.frame)
        keys = {resource.key for resource in resources}
        had = [resource.key for resource in endpoint_resources(old, self.frame)] if old else []
        removed = [key for key in reversed(had) if key not in keys]
        await self._apply(self.table.with_endpoint(new, self.frame), resources, removed)

    async def remove(self, endpoint: Endpoint) -> None:
        """Remove as an edge does: first the matcher, then the resources in reverse."""
        await self._apply(self.table.without(endpoint.url), [], [])
        keys = [resource.key for resource in reversed(endpoint_resources(endpoint, self.frame))]
        await self.ads.publish(remove=keys)

    async def _apply(self, table: SniTable, resources: list[Resource], removed: list[Any]) -> None:
        if not table.matches_like(self.table):
            resources = [*resources, https_listener(self.frame, table)]
        self.table = table
        await self.ads.publish(resources, removed)

    async def open(
        self, server_name: str | None, *, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection to the https port."""
        context = tls or self.visitor()
        if server_name is None:
            context.check_hostname = False
        return await asyncio.open_connection(
            "127.0.0.1", self.https, ssl=context, server_hostname=server_name or "", limit=1 << 20
        )

    def visitor(self, pair: KeyPair | None = None) -> ssl.SSLContext:
        """The TLS settings of a visitor who trusts the edge's CA and may have a certificate."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        if pair is not None:
            file = self.directory / "visitor.pem"
            file.write_text(pair.certificate + pair.key)
            context.load_cert_chain(file)
        return context

    async def get(
        self,
        server_name: str | None,
        path: str = "/",
        *,
        host: str | None = None,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """GET over TLS with `server_name` as SNI and `host` (or the same) as Host."""
        reader, writer = await self.open(server_name, tls=tls)
        return await _get(reader, writer, host or server_name or "", path, headers or {})

    async def get_plain(self, host: str, path: str = "/", headers: dict[str, str] | None = None) -> Answer:
        """GET on the http port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http)
        return await _get(reader, writer, host, path, headers or {})

    async def raw(self, server_name: str | None, data: bytes) -> bytes:
        """What comes back for `data`, on TLS or (without a server name) plainly, until it ends or then pauses."""
        if server_name is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.http)
        else:
            reader, writer = await self.open(server_name)
        writer.write(data)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while chunk := await asyncio.wait_for(reader.read(65_536), _PAUSE if answer else _PATIENCE):
                answer += chunk
        writer.close()
        return answer


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, headers: dict[str, str]
) -> Answer:
    fields = {"host": host, "connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    try:
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One HTTP/1.1 response with Content-Length, chunked, or without a body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    while headers.get("transfer-encoding") == "chunked":
        size = int(await reader.readline(), 16)
        if size == 0:
            break
        body += (await reader.readexactly(size + 2))[:-2]
    return Answer(int(lines[0].split()[1]), headers, body)


def endpoint(url: str, *addresses: Address, **fields: Any) -> Endpoint:
    """An endpoint; https ones end TLS at the edge."""
    parsed = EndpointUrl.parse(url)
    if parsed.scheme == "https":
        fields.setdefault("tls", EdgeTls())
    return Endpoint(parsed, addresses, **fields)


def http_upstream(name: str, extra: dict[str, str] | None = None, status: str = "200 OK") -> Serve:
    """Answers each request with its own name and the request as it came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = f"{name}\n".encode() + head
                fields = "".join(f"{key}: {value}\r\n" for key, value in (extra or {}).items())
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{fields}\r\n".encode() + body)
        writer.close()

    return serve


@contextlib.asynccontextmanager
async def translated_edge(
    domain: str = "edge.test", *, bootstrap: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[TranslatedEdge]:
    """A running Envoy with the frame published. Certificates are made on demand for names that end in `.test`."""
    authority = Authority()
    wanted: list[str] = []

    def leaf(name: str) -> Resource | None:
        wanted.append(name)
        return secret_resource(name, authority.issue(name)) if name.endswith((f".{domain}", ".test")) else None

    async with running_envoy(on_secret_wanted=leaf, **(bootstrap or {})) as rig:
        frame = EdgeFrame(
            domain=domain,
            https=SocketAddress("127.0.0.1", free_port()),
            http=SocketAddress("127.0.0.1", free_port()),
            tcp_host="127.0.0.1",
            agent_sockets=(str(rig.run_dir / "agents.sock"),),
            api_socket=str(rig.run_dir / "api.sock"),
            mark_header=MARK,
            policy_script=str(write_script(rig.run_dir)),
            **changes,
        )
        edge = TranslatedEdge(rig.run_dir, frame, rig.ads, authority, wanted=wanted)
        pair = secret_resource(
            EDGE_CERTIFICATE, authority.issue(domain, f"*.{domain}", f"connect.{domain}", "localhost")
        )
        tickets = ticket_keys_resource([bytes(80)])
        frame_and_listeners = [*frame_resources(frame), *listener_resources(frame, edge.table)]
        await rig.ads.publish([pair, tickets, *frame_and_listeners], timeout=60)
        try:
            yield edge
        finally:
            for server in edge.sockets:
                server.close()
