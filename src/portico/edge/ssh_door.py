"""Answers what the SSH relay asks: whether a credential is known, for a session, for an endpoint."""

import logging
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
from prometheus_client import Counter

from portico.edge.admin import Metrics
from portico.edge.admission import Admission, for_agents
from portico.edge.agents import Agents, bind_lease
from portico.edge.naming import Naming
from portico.edge.registry import Registry, Session
from portico.edge.ssh_options import ssh_request
from portico.model.acl import Acl
from portico.model.errors import SESSION_CLOSED, PorticoError
from portico.model.owner import Owner
from portico.relay.link import Reply, SessionLease, SshAuthenticate, SshCheck, SshForward, SshQuestion, refusal

log = logging.getLogger(__name__)


class SshDoor:
    """The door of stock SSH clients; what it admits is a session like any other."""

    def __init__(
        self, naming: Naming, registry: Registry, agents: Agents, admission: Admission, metrics: Metrics
    ) -> None:
        self._naming = naming
        self._registry = registry
        self._agents = agents
        self._admission = admission
        self._metrics = metrics

    async def answer(self, relay: str, question: SshQuestion) -> Reply:
        """The reply to a question of `relay`."""
        match question:
            case SshCheck():
                return await self._reply(question.id, self._check(question))
            case SshAuthenticate():
                return await self._reply(question.id, self._authenticate(relay, question), self._metrics.sessions)
            case SshForward():
                return await self._reply(question.id, self._forward(question), self._metrics.binds)

    async def _reply(self, ident: int, work: Coroutine[Any, Any, Reply], outcomes: Counter | None = None) -> Reply:
        outcome = "ok"
        try:
            reply = await work
        except PorticoError as error:
            reply, outcome = Reply(ident, refusal(for_agents(error))), str(error.code)
            log.info("refused", extra={"code": outcome, "reason": error.message})
        if outcomes is not None:
            outcomes.labels(outcome).inc()
        return reply

    async def _check(self, question: SshCheck) -> Reply:
        await self._admitted(question)
        return Reply(question.id, {})

    async def _authenticate(self, relay: str, question: SshAuthenticate) -> Reply:
        owner, credential, acl = await self._admitted(question)
        session = Session(
            id=question.session,
            relay=relay,
            client_id=question.session,  # SSH clients keep no cookie, so none can prove to be the same again
            leg=0,
            owner=owner,
            remote=question.remote,
            user_agent=question.user_agent,
            credential=credential,
            acl=acl,
            started=time.time(),
        )
        self._registry.add_session(session)
        facts = {"session": session.id, "owner": owner.name, "remote": session.remote}
        log.info("session online", extra={**facts, "agent": session.user_agent, "credential": credential})
        lease = SessionLease(
            session=session.id,
            remote=session.remote,
            lease=msgspec.to_builtins(session),
            # The SSH relay sends its own keepalives.
            heartbeat_interval=0,
            heartbeat_tolerance=0,
        )
        return Reply(question.id, {}, session=lease)

    async def _admitted(self, question: SshCheck | SshAuthenticate) -> tuple[Owner, str, Acl]:
        return await self._admission.once_reachable(
            lambda: self._admission.admit_ssh(question.fingerprint, question.authtoken)
        )

    async def _forward(self, question: SshForward) -> Reply:
        if self._registry.session(question.session) is None:
            raise PorticoError(SESSION_CLOSED, "the session has ended")
        request = ssh_request(question, self._naming)
        bind = await self._agents.bring_up(question.session, request, question.address)
        return Reply(question.id, {}, bind=bind_lease(bind))
