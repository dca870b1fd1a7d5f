"""Answers what agents ask through their relays: Auth, Bind, Unbind, PatchTunnelState, SrvInfo."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from portico.edge.admin import Metrics
from portico.edge.admission import Admission, for_agents
from portico.edge.agent_options import bind_request, echoed_options, labelled_request, with_policy
from portico.edge.bind_request import BindRequest
from portico.edge.node import Node
from portico.edge.publisher import Publisher
from portico.edge.registry import HOLD_SECONDS, LiveBind, Registry, Session
from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import BIND_INVALID, SESSION_CLOSED, PorticoError
from portico.model.x509 import read_key_pair_facts
from portico.relay.link import (
    REPLACED,
    Authenticate,
    Bind,
    BindLease,
    CloseSession,
    FromControl,
    FromRelay,
    Hello,
    Patch,
    Reply,
    ServerInfo,
    SessionEnded,
    SessionLease,
    Unbind,
)
from portico.tunnel import messages
from portico.tunnel.frames import ProtocolError
from portico.version import __version__

log = logging.getLogger(__name__)

RETURN_SECONDS: Final = 1.0
"""How long a lost endpoint keeps its place in Envoy, so that an agent that is back at once changes nothing."""
EDGE_TYPES: Final = {Scheme.TCP: "1", Scheme.TLS: "2", Scheme.HTTPS: "3", Scheme.HTTP: "3"}
"""`EdgeType` of proxy headers for labelled tunnels, as ngrok's SDKs know it; plain binds say 0."""


class Agents:
    """The door of the agent protocol."""

    def __init__(
        self,
        node: Node,
        registry: Registry,
        publisher: Publisher,
        admission: Admission,
        metrics: Metrics,
        missing_secrets: Callable[[str, str], Sequence[str]],
    ) -> None:
        """`missing_secrets` says which secrets that a policy reads its owner (by id) does not have."""
        self._node = node
        self._registry = registry
        self._publisher = publisher
        self._admission = admission
        self._metrics = metrics
        self._missing_secrets = missing_secrets
        self._tasks: set[asyncio.Task[None]] = set()
        self.send: Callable[[str, FromControl], None] = lambda _relay, _message: None
        """Says something to a relay; set once the links are there, which in turn call `answer`."""

    async def answer(self, relay: str, message: FromRelay) -> FromControl | None:
        """The reply to a question of `relay`."""
        match message:
            case Authenticate():
                return await self._reply(message.id, self._authenticate(relay, message), self._metrics.sessions)
            case Bind():
                return await self._reply(message.id, self._bind(message), self._metrics.binds)
            case Unbind():
                return await self._reply(message.id, self._unbind(message))
            case Patch():
                return await self._reply(message.id, self._patch(message))
            case ServerInfo():
                return Reply(message.id, messages.SrvInfoResp(region=self._node.frame.domain).to_json())
            case SessionEnded():
                self._lost(self._registry.end_session(message.session, time.monotonic()))
                log.info("session ended", extra={"session": message.session, "reason": message.reason})
        return None

    def restore(self, hello: Hello) -> list[EndpointUrl]:
        """Take back what a relay holds, after this process or the link began anew; the URLs that are live by it."""
        kept = {session.session for session in hello.sessions}
        for gone in [one.id for one in self._registry.sessions if one.relay == hello.relay and one.id not in kept]:
            self._lost(self._registry.end_session(gone, time.monotonic()))
        binds: dict[str, list[LiveBind]] = {session: [] for session in kept}
        for lease in hello.binds:
            binds[lease.session].append(msgspec.convert(lease.lease, LiveBind))
        urls: list[EndpointUrl] = []
        for held in hello.sessions:
            if self._registry.session(held.session) is None:
                urls += self._registry.restore(msgspec.convert(held.lease, Session), binds[held.session])
        return urls

    def publish_later(self, urls: Iterable[EndpointUrl]) -> None:
        """Bring Envoy up to date with these URLs, without waiting."""
        for url in urls:
            self._soon(url, 0)

    def dismiss(self, credential: str, reason: str) -> None:
        """End every session of a credential now; its agents are told `reason`, and their names are free at once."""
        for session in [one for one in self._registry.sessions if one.credential == credential]:
            self.publish_later(self._registry.end_session(session.id, time.monotonic(), hold=False))
            self.send(session.relay, CloseSession(session.id, reason))
            log.info("session dismissed", extra={"session": session.id, "reason": reason})

    async def _reply(self, ident: int, work: Coroutine[Any, Any, Reply], outcomes: Counter | None = None) -> Reply:
        outcome = "ok"
        try:
            reply = await work
        except ProtocolError as error:
            problem = PorticoError(BIND_INVALID, str(error))
            reply, outcome = Reply(ident, {"Error": problem.protocol_text()}), str(problem.code)
        except PorticoError as error:
            reply, outcome = Reply(ident, {"Error": for_agents(error).protocol_text()}), str(error.code)
            log.info("refused", extra={"code": outcome, "reason": error.message})
        if outcomes is not None:
            outcomes.labels(outcome).inc()
        return reply

    async def _authenticate(self, relay: str, message: Authenticate) -> Reply:
        auth = messages.Auth.from_json(message.body)
        admitted = await self._admission.once_reachable(
            lambda: self._admission.admit(auth.extra.authtoken, auth.version, auth.client_id, auth.extra.cookie)
        )
        if admitted.returning:
            self._replace(admitted.client_id, auth.extra.leg_number)
        session = Session(
            id=message.session,
            relay=relay,
            client_id=admitted.client_id,
            leg=auth.extra.leg_number,
            owner=admitted.owner,
            remote=message.remote,
            user_agent=auth.extra.user_agent,
            metadata=auth.extra.metadata,
            credential=admitted.credential.id,
            acl=admitted.credential.acl,
            started=time.time(),
            agent_version=auth.extra.version,
            os=auth.extra.os,
        )
        self._registry.add_session(session)
        facts = {"session": session.id, "owner": session.owner.name, "remote": session.remote}
        log.info("session online", extra={**facts, "agent": session.user_agent, "returning": admitted.returning})
        body = messages.AuthResp(
            version=admitted.version,
            client_id=admitted.client_id,
            extra=messages.AuthRespExtra(
                version=__version__,
                region=self._node.frame.domain,
                cookie=admitted.cookie,
                account_name=session.owner.name,
                plan_name="Self-hosted",
                agent_session_id=f"ts_{session.id}",
            ),
        )
        lease = SessionLease(
            session=session.id,
            remote=session.remote,
            lease=msgspec.to_builtins(session),
            heartbeat_interval=self._node.heartbeats.clamp_interval(_seconds(auth.extra.heartbeat_interval)),
            heartbeat_tolerance=self._node.heartbeats.clamp_tolerance(_seconds(auth.extra.heartbeat_tolerance)),
        )
        return Reply(message.id, body.to_json(), session=lease)

    def _replace(self, client_id: str, leg: int) -> None:
        """The agent is back: its dead predecessor gives up its names now, not when its silence is noticed."""
        predecessor = self._registry.predecessor(client_id, leg)
        if predecessor is not None:
            self._lost(self._registry.end_session(predecessor.id, time.monotonic()))
            self.send(predecessor.relay, CloseSession(predecessor.id, REPLACED))

    async def _bind(self, message: Bind) -> Reply:
        if self._registry.session(message.session) is None:
            raise PorticoError(SESSION_CLOSED, "the session has ended")
        opts: dict[str, object] = {}
        if message.labelled:
            labelled = messages.StartTunnelWithLabel.from_json(message.body)
            request = labelled_request(labelled)
        else:
            wanted = messages.Bind.from_json(message.body)
            request, opts = bind_request(wanted, self._node.frame.minimum_tls), wanted.opts
        bind = await self.bring_up(message.session, request, message.address)
        return Reply(message.id, _bind_answer(bind, opts, message.labelled), bind=bind_lease(bind))

    async def bring_up(self, session: str, request: BindRequest, address: str) -> LiveBind:
        """Make `request` an endpoint that is served when this returns. Raises PorticoError."""
        if not request.bind_id:  # one that returns goes on; its rules that read what is gone by now fail
            self._check_secrets(session, request.traffic_policy)
        bind = self._registry.bind(session, request, address, time.monotonic(), started=time.time())
        await self._publish(bind)
        facts = {"url": str(bind.url), "session": bind.session, "forwards_to": request.forwards_to}
        log.info("endpoint online", extra=facts)
        _warn_of_other_names(bind)
        return bind

    async def _publish(self, bind: LiveBind) -> None:
        """Wait until Envoy serves a new bind; take it back where it cannot, or where its session ended meanwhile."""
        try:
            with self._metrics.publish_seconds.time():
                await self._publisher.refresh(bind.url)
        except PorticoError:
            self._registry.unbind(bind.session, bind.id)
            self._soon(bind.url, 0)
            raise
        if self._registry.find_bind(bind.session, bind.id) is not bind:
            raise PorticoError(SESSION_CLOSED, "the session has ended")

    def _check_secrets(self, session: str, policy: str) -> None:
        owner = self._registry.session(session)
        gone = self._missing_secrets(policy, owner.owner.id) if owner else ()
        if gone:
            raise PorticoError(BIND_INVALID, f"the policy reads secrets that are not there: {', '.join(gone)}")

    async def _unbind(self, message: Unbind) -> Reply:
        url = self._registry.unbind(message.session, message.bind)
        if url is not None:
            await self._publisher.refresh(url)
            log.info("endpoint offline", extra={"url": str(url), "session": message.session})
        return Reply(message.id, messages.UnbindResp().to_json())

    async def _patch(self, message: Patch) -> Reply:
        patch = messages.PatchTunnelState.from_json(message.body)
        bind_id = patch.tunnel_id.removeprefix("tn_")
        if patch.traffic_policy is not None:
            await self._change_policy(message.session, bind_id, patch.traffic_policy)
        bind = self._registry.patch(
            message.session,
            bind_id,
            description=patch.description,
            metadata=patch.metadata,
            pooling=patch.pooling_enabled,
        )
        return Reply(message.id, messages.ErrorResp().to_json(), bind=bind_lease(bind))

    async def _change_policy(self, session: str, bind_id: str, policy: str) -> None:
        """Serve a live bind under another policy from when this returns. Raises PorticoError: then nothing changed."""
        before = self._registry.patch(session, bind_id)
        request = with_policy(before.request, policy, self._node.frame.minimum_tls)
        self._check_secrets(session, request.traffic_policy)
        bind = self._registry.exchange(before, request)
        try:
            await self._publisher.refresh(bind.url)
        except PorticoError:
            if self._registry.find_bind(session, bind_id) is bind:
                self._registry.exchange(bind, before.request)
                self._soon(bind.url, 0)
            raise
        log.info("endpoint has another policy", extra={"url": str(bind.url), "session": session})

    def _lost(self, urls: Iterable[EndpointUrl]) -> None:
        """Endpoints whose session is gone: others of their pools go on at once, the rest wait for a quick return."""
        for url in urls:
            endpoint = self._registry.endpoint(url)
            self._soon(url, 0 if endpoint is not None and endpoint.addresses else RETURN_SECONDS)
            self._soon(url, HOLD_SECONDS + RETURN_SECONDS)

    def _soon(self, url: EndpointUrl, seconds: float) -> None:
        async def refresh() -> None:
            await asyncio.sleep(seconds)
            self._registry.expire_holds(time.monotonic())
            try:
                await self._publisher.refresh(url)
            except PorticoError as error:
                log.warning("an endpoint's end is not published", extra={"url": str(url), "reason": error.message})

        task = asyncio.get_running_loop().create_task(refresh(), name=f"refresh-{url}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / messages.NANOSECONDS


def _warn_of_other_names(bind: LiveBind) -> None:
    """Visitors will refuse the owner's certificate; it may still be what he wants, behind something that does not."""
    pair = bind.request.tls.key_pair if bind.request.tls else None
    if pair is None:
        return
    certificate = read_key_pair_facts(pair)
    if not certificate.covers(bind.url.host):
        facts = {"url": str(bind.url), "names": list(certificate.names[:10])}
        log.warning("the endpoint's own certificate does not cover its name", extra=facts)


def _bind_answer(bind: LiveBind, opts: dict[str, object], labelled: bool) -> dict[str, object]:
    if labelled:
        return messages.StartTunnelWithLabelResp(id=bind.id).to_json()
    return messages.BindResp(
        id=bind.id,
        url=str(bind.url),
        proto=str(bind.url.scheme),
        opts=echoed_options(opts, bind.url),
        extra=messages.BindRespExtra(token=bind.token, tunnel_id=f"tn_{bind.id}"),
    ).to_json()


def bind_lease(bind: LiveBind) -> BindLease:
    """How the relay is to serve the bind."""
    request, scheme = bind.request, bind.url.scheme
    is_http = scheme in (Scheme.HTTP, Scheme.HTTPS)
    return BindLease(
        session=bind.session,
        bind=bind.id,
        address=bind.address,
        # To an agent these are bytes: ngrok's SDKs would write an HTTP page where they reach no upstream.
        proto=str(Scheme.TCP if request.websocket_bytes else scheme),
        url=str(bind.url),
        edge_type="0" if request.scheme else EDGE_TYPES[scheme],
        passthrough_tls=scheme is Scheme.TLS and request.tls is None,
        proxy_protocol=request.proxy_protocol,
        visitor_address=not is_http or request.tells_visitor,
        http=request.upstream_http if is_http else 0,
        websocket_bytes=request.websocket_bytes,
        lease=msgspec.to_builtins(bind),
    )
