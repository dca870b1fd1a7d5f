"""The sessions of this process and their listeners; one session for all listeners with the same settings."""

import asyncio
import atexit
import os
import threading
from contextlib import suppress
from dataclasses import dataclass

from portico.agent.agent import Agent
from portico.agent.bind import BindRequest
from portico.agent.settings import AgentTls, SessionSettings
from portico.agent.upstream import Upstream
from portico.agent.upstream_tls import UpstreamTls
from portico.sdk.listener import Listener, ListeningSocket
from portico.sdk.runtime import Runtime

_EXIT_SECONDS = 5.0
"""Grace for the goodbyes of all sessions when the program exits."""

default_authtoken: str | None = None
"""Set by `set_auth_token`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """All that is needed to open one listener."""

    settings: SessionSettings
    request: BindRequest
    upstream: Upstream
    upstream_tls: UpstreamTls
    agent_tls: AgentTls | None
    own_session: bool
    accepting: ListeningSocket | None


class Sessions:
    """What runs in one `Runtime`; its coroutines are run there only."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self._shared: dict[SessionSettings, asyncio.Task[Agent]] = {}
        self._listeners: dict[Listener, Agent] = {}

    async def open(self, wish: Wish) -> Listener:
        """Bring one listener online. Raises PorticoError."""
        agent: Agent | None = None
        try:
            agent = await self._agent(wish)
            endpoint = await agent.open(
                wish.request, wish.upstream, upstream_tls=wish.upstream_tls, agent_tls=wish.agent_tls
            )
        except BaseException:
            if wish.accepting is not None:
                wish.accepting.close()
            if wish.own_session and agent is not None:
                await agent.close()
            raise
        listener = Listener(self.runtime, endpoint, wish.accepting, self._released)
        self._listeners[listener] = agent
        return listener

    def online(self) -> list[Listener]:
        """The listeners that are not closed."""
        return [listener for listener in list(self._listeners) if not listener.closed]

    async def disconnect(self, url: str | None) -> None:
        """Close the listeners of `url`, or all."""
        for listener in self.online():
            if url is None or listener.url() == url:
                await listener.close()

    async def close(self) -> None:
        """Close all listeners and sessions."""
        for listener in list(self._listeners):  # those that the edge ended too: they hold sockets and sessions
            await listener.close()
        starting, self._shared = list(self._shared.values()), {}
        for task in starting:
            task.cancel()
            with suppress(Exception, asyncio.CancelledError):
                await (await task).close()
        self._listeners.clear()

    async def _agent(self, wish: Wish) -> Agent:
        if wish.own_session:
            return await _started(wish.settings)
        task = self._shared.get(wish.settings)
        if task is None or _is_over(task):
            task = asyncio.create_task(_started(wish.settings), name="portico session start")
            self._shared[wish.settings] = task
        return await asyncio.shield(task)

    async def _released(self, listener: Listener) -> None:
        """A session whose last listener is closed has nothing left to do."""
        agent = self._listeners.pop(listener, None)
        if agent is not None and not agent.endpoints:
            self._shared = {settings: task for settings, task in self._shared.items() if not _made(task, agent)}
            await agent.close()


async def _started(settings: SessionSettings) -> Agent:
    agent = Agent(settings)
    await agent.start()
    return agent


def _made(task: "asyncio.Task[Agent]", agent: Agent) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result() is agent


def _is_over(task: "asyncio.Task[Agent]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None or task.result().closed)


_lock = threading.Lock()
_current: Sessions | None = None
"""The one background thread of this process, made on first use."""


def current() -> Sessions:
    """The sessions of this process. A fork starts with none of its own."""
    global _current  # noqa: PLW0603
    with _lock:
        if _current is None or _current.runtime.inherited:
            if _current is None:
                atexit.register(_close_at_exit)
            _current = Sessions()
        return _current


def _close_at_exit() -> None:
    sessions = _current
    if sessions is None or sessions.runtime.inherited:
        return
    with suppress(Exception):
        sessions.runtime.run_blocking(sessions.close(), _EXIT_SECONDS)
    sessions.runtime.stop()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # the old one may be held by a thread that did not come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
