"""One visit in words and in a real Envoy: what `explain` says of it, and what became of it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import h11

from kit.translated import TranslatedEdge
from portico.model.endpoint import Scheme, UnixSocket
from portico.policy.document import read_policy
from portico.policy.effects import End
from portico.policy.explain import Explanation, explain
from portico.policy.request import Visit, by_name

Fields = Mapping[str, Sequence[str]]
LENGTH: Final = ("content-length", "transfer-encoding")
OF_THE_EDGE: Final = frozenset(
    (*LENGTH, "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
)
"""Fields of requests that the edge writes, whatever a policy says."""
OF_THE_RESPONSE: Final = frozenset((*LENGTH, "date", "connection"))
"""The same, of responses."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A request as an upstream got it."""

    name: str
    method: str
    target: str
    headers: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a visit."""

    status: int
    headers: Fields
    body: bytes
    closed: bool
    """Whether the edge has ended the connection."""
    upstream: Reached | None


@dataclass(slots=True)
class Upstreams:
    """Services that keep what they get, and answer as the visit wants it."""

    answer: Visit = field(default_factory=lambda: Visit("https://a.test/"))
    body: bytes = b"from the upstream, long enough to be worth packing"
    reached: list[Reached] = field(default_factory=list)

    async def serve(self, edge: TranslatedEdge, name: str) -> UnixSocket:
        """The address of one."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
                while await self._one(name, reader, writer):
                    pass
            writer.close()

        return await edge.serve(serve, name)

    async def _one(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        # A connection ends behind its answer: which requests share one is nothing to a policy.
        side = h11.Connection(h11.SERVER)
        events = await _events(side, reader)
        if not events or not isinstance(request := events[0], h11.Request):
            return False
        body = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
        self.reached.append(
            Reached(name, request.method.decode(), request.target.decode(), _fields(request.headers), body)
        )
        given = by_name(self.answer.response_headers)
        length = [] if "content-length" in given else [("content-length", str(len(self.body)))]
        fields = [*self.answer.response_headers, *length, ("connection", "close")]
        writer.write(side.send(h11.Response(status_code=self.answer.status, headers=fields)) or b"")
        if request.method != b"HEAD" and self.answer.status not in (204, 304):
            writer.write(side.send(h11.Data(data=self.body)) or b"")
        await writer.drain()
        return False


async def ask(edge: TranslatedEdge, upstreams: Upstreams, visit: Visit) -> tuple[Seen, dict[str, Any]]:
    """Sends the very request, from the visitor's address; also what it tells of its connection."""
    upstreams.answer, upstreams.reached = visit, []
    url = urlsplit(visit.url)
    secure = url.scheme == Scheme.HTTPS
    tls: dict[str, Any] = {"ssl": edge.visitor(), "server_hostname": url.hostname} if secure else {}
    port = edge.https if secure else edge.http
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(visit.client_ip, 0), **tls)
    facts = {
        "conn.client_port": writer.get_extra_info("sockname")[1],
        "conn.server_port": port,
        "req.version": "HTTP/1.1",
    }
    side = h11.Connection(h11.CLIENT)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    body = (visit.body or "").encode()
    length = [] if visit.body is None else [("content-length", str(len(body)))]
    head = h11.Request(method=visit.method, target=target, headers=[("host", url.netloc), *visit.headers, *length])
    writer.write((side.send(head) or b"") + (side.send(h11.Data(data=body)) or b"" if body else b""))
    side.send(h11.EndOfMessage())
    try:
        events = await _events(side, reader)
        answer = next(event for event in events if isinstance(event, h11.Response))
        found = b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
        fields = _fields(answer.headers)
        closed = "close" in fields.get("connection", ())
        return Seen(answer.status_code, fields, found, closed, next(iter(upstreams.reached), None)), facts
    finally:
        writer.close()


async def _events(side: h11.Connection, reader: asyncio.StreamReader) -> list[Any]:
    """The head and all of the body of the next message."""
    found: list[Any] = []
    while True:
        event = side.next_event()
        if event is h11.NEED_DATA:
            side.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.ConnectionClosed | h11.EndOfMessage) or event is h11.PAUSED:
            return found
        else:
            found.append(event)


def _fields(headers: Any) -> dict[str, list[str]]:
    return by_name([(name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in headers])


def explained(policy: str, visit: Visit, facts: Mapping[str, Any]) -> Explanation:
    """What is said of the visit, knowing what only its connection tells."""
    known = Visit(
        visit.url,
        visit.method,
        visit.headers,
        visit.client_ip,
        visit.body,
        visit.status,
        visit.response_headers,
        {**facts, **visit.facts},
    )
    return explain(read_policy(policy).policy, known)


def differences(said: Explanation, seen: Seen) -> list[str]:
    """In what Envoy did otherwise than the explanation says; empty where they agree."""
    ending = said.ending
    found = [*_of_the_upstream(said, seen)]
    if ending is not None and ending.kind is End.CLOSED:
        # Where HTTP is spoken the end of a connection takes an answer.
        return [*found, *_unlike("status", 403, seen.status), *_unlike("connection is closed", True, seen.closed)]
    found += _unlike("status", said.status, seen.status)
    if ending is not None and ending.kind is End.RESPONSE:
        if ending.body or seen.status not in (401, 403, 502):  # those have pages of the edge's, where nothing is said
            found += _unlike("body", ending.body, seen.body.decode())
        missing = {
            name: value for name, value in ending.headers.items() if value != ", ".join(seen.headers.get(name, []))
        }
        return [*found, *([f"headers: {missing} said, {dict(seen.headers)} found"] if missing else [])]
    return [*found, *_unlike_fields("response", said.values["res.headers"], seen.headers, OF_THE_RESPONSE)]


def _of_the_upstream(said: Explanation, seen: Seen) -> list[str]:
    if not said.reached:
        return [] if seen.upstream is None else ["the upstream was reached"]
    reached = seen.upstream
    if reached is None:
        return ["the upstream was not reached"]
    values = said.values
    found = _unlike("method", values["req.method"], reached.method)
    found += _unlike("target", values["req.url.uri"], reached.target)
    if "req.body" in values:
        found += _unlike("body at the upstream", values["req.body"], reached.body.decode())
    return [*found, *_unlike_fields("request", values["req.headers"], reached.headers, OF_THE_EDGE)]


def _unlike(what: str, said: object, found: object) -> list[str]:
    return [] if said == found else [f"{what}: {said!r} said, {found!r} found"]


def _unlike_fields(of: str, said: Fields, found: Fields, free: frozenset[str]) -> list[str]:
    wrong = []
    for name in sorted({*said, *found} - free):
        one, other = (",".join(fields.get(name, ())) for fields in (said, found))
        wrong += _unlike(f"{of} header {name}", one, other) if one.lower() != other.lower() or name != "vary" else []
    return wrong
