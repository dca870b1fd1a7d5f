"""The gate's questions as an HTTP application, for Envoy alone: it listens on a Unix socket of the node's directory."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from portico.gate.authority import Authority
from portico.gate.byte_endpoints import ByteEndpoints
from portico.gate.connection_wire import CONTENT_TYPE, PATH, read_question, write_answer
from portico.gate.connections import Connections
from portico.gate.errands import Errands
from portico.gate.key_sets import KeySets
from portico.gate.limits import Counters, Limits
from portico.gate.outbound import Outbound
from portico.gate.providers import PROVIDERS, Provider
from portico.gate.questions import Errand, Limit, Question, SignIn, SignInPath, Verification
from portico.gate.reach import Reach
from portico.gate.seal import EdgeSecrets
from portico.gate.sign_in import SignIns
from portico.gate.verification import Verifications

log = logging.getLogger(__name__)
MOST_BYTES: Final = 8_388_608
"""Of a question; a body of http-request may be large."""
_Q = TypeVar("_Q", bound=Question)


def gate_app(
    reach: Reach,
    edge_secrets: Path,
    edge_ca: Path | None = None,
    internal: str = "",
    byte_endpoints: Path | None = None,
    providers: Mapping[str, Provider] = PROVIDERS,
    clock: Callable[[], float] = time.time,
    counters: Counters | None = None,
) -> Starlette:
    """`edge_secrets` is the file of `seal.EdgeSecrets`; `edge_ca` an authority to trust beside the system's.

    `internal` is Envoy's Unix socket for requests to internal endpoints, `byte_endpoints` the directory of
    `byte_endpoints.ByteEndpoints`; `counters` are those that nodes share.
    """
    outbound = Outbound(reach, edge_ca, internal)
    key_sets = KeySets(outbound, clock)
    sign_ins = SignIns(Authority(outbound, key_sets, providers, clock), EdgeSecrets(edge_secrets), clock)
    verifications, errands = Verifications(key_sets, clock), Errands(outbound)
    limits = Limits(counters) if counters is not None else None

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with limits.swept() if limits is not None else contextlib.nullcontext():
            yield
        await outbound.close()

    return Starlette(
        routes=[
            _route("/sign-in", SignIn, sign_ins.ask),
            _route("/sign-in/path", SignInPath, sign_ins.path),
            _route("/tokens", Verification, verifications.ask),
            _route("/errands", Errand, errands.run),
            *([_connections(byte_endpoints)] if byte_endpoints else []),
            *([_route("/limits", Limit, limits.ask)] if limits is not None else []),
        ],
        lifespan=lifespan,
    )


def _connections(directory: Path) -> Route:
    connections = Connections(ByteEndpoints(directory))

    async def ask(request: Request) -> Response:
        try:
            verdict = connections.decide(read_question(await request.body()))
        except ValueError as error:  # Envoy closes the connection where it gets no answer
            log.error("a connection cannot be decided", extra={"reason": str(error)})
            return Response(status_code=400)
        return Response(write_answer(verdict.passes, verdict.noted()), media_type=CONTENT_TYPE)

    return Route(PATH, ask, methods=["POST"])


def _route(path: str, kind: type[_Q], answer: Callable[[_Q], Awaitable[msgspec.Struct]]) -> Route:
    decoder = msgspec.json.Decoder(kind)

    async def ask(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return Response(status_code=413)
        try:
            question = decoder.decode(body)
        except msgspec.DecodeError as error:
            # The text of msgspec names a key and a type, never a value.
            log.error("a question cannot be read", extra={"question": path, "reason": str(error)})
            return Response(status_code=400)
        return Response(msgspec.json.encode(await answer(question)), media_type="application/json")

    return Route(path, ask, methods=["POST"])
