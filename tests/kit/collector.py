"""A collector of OpenTelemetry for tests: OTLP over HTTP or gRPC, read with the messages that Envoy itself carries."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from kit.envoy import message_types

_REQUEST = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass
class Collector:
    """What came."""

    port: int
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)

    def receive(self, body: bytes, headers: dict[str, str]) -> None:
        """Take an `ExportTraceServiceRequest`."""
        self.headers.append(headers)
        for resource in message_types().message(_REQUEST).FromString(body).resource_spans:
            self.services |= {value for name, value in attributes(resource.resource) if name == "service.name"}
            for scope in resource.scope_spans:
                self.spans += scope.spans


def attributes(part: Any) -> Iterator[tuple[str, str]]:
    """Attributes of a span or a resource, whose values are text."""
    return ((attribute.key, attribute.value.string_value) for attribute in part.attributes)


@asynccontextmanager
async def http_collector() -> AsyncIterator[Collector]:
    """OTLP over HTTP on a loopback port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                assert head[0] == "POST /v1/traces HTTP/1.1"
                length = fields.get("content-length")
                body = await _chunks(reader) if length is None else await reader.readexactly(int(length))
                collector.receive(body, fields)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        collector = Collector(server.sockets[0].getsockname()[1])
        yield collector


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


class _TraceService(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in the stubs alone
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The one method."""

        async def export(request: bytes, context: Any) -> bytes:
            self._collector.receive(request, dict(context.invocation_metadata()))
            return b""

        return grpc.unary_unary_rpc_method_handler(export) if details.method == _METHOD else None


@asynccontextmanager
async def grpc_collector() -> AsyncIterator[Collector]:
    """OTLP over gRPC on a loopback port."""
    server = grpc.aio.server()
    collector = Collector(server.add_insecure_port("127.0.0.1:0"))
    server.add_generic_rpc_handlers((_TraceService(collector),))
    await server.start()
    yield collector
    await server.stop(0)
