"""Runs an agent in the foreground: connect, open the endpoints, show what happens, leave nothing behind."""

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeVar

from portico import event_loop
from portico.agent.agent import Agent, AgentEndpoint
from portico.agent.edge_address import Trust
from portico.agent.inspector import DEFAULT_LIMIT, Inspector
from portico.agent.session import SessionState, SessionStatus
from portico.cli.config.endpoints import Forwarding, described_forwardings
from portico.cli.console import Console, console_for
from portico.cli.setup import Setup
from portico.model.errors import PorticoError

log = logging.getLogger(__name__)
T = TypeVar("T")

_IMPORT_SWITCH_SECONDS: Final = 0.0005
"""With Python's own 5 ms, each turn of the event loop waits so long for the thread that imports."""


def run_agent(setup: Setup, trust: Trust, wanted: Sequence[Forwarding], *, persistent: bool = False) -> int:
    """Serve `wanted` until Ctrl-C, SIGTERM or the edge's word; returns the exit status. Raises PorticoError.

    `persistent` goes on trying where the edge cannot be reached at the start; `trust` is that of `setup`.
    """
    setup.session()  # what is wrong with the settings is said before the terminal changes
    with console_for(setup.agent) as console:
        restart = event_loop.run(_serve(setup, trust, wanted, console, persistent))
    if restart:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same program once more
    return 0


async def _serve(setup: Setup, trust: Trust, wanted: Sequence[Forwarding], console: Console, persistent: bool) -> bool:
    return await _Run(setup, trust, console).serve(wanted, persistent)


class _Run:
    def __init__(self, setup: Setup, trust: Trust, console: Console) -> None:
        self._console = console
        self._keys = setup.agent
        self._stop = asyncio.Event()
        self._restart = False
        limit = setup.agent.inspect_db_size
        self._agent = Agent(
            setup.session(),
            inspector=None if limit < 0 else Inspector(limit or DEFAULT_LIMIT),
            on_status=self._on_status,
            commands={"Stop": self._obey_stop, "Restart": self._obey_restart} if setup.agent.remote_management else {},
            trust=trust,
        )

    async def serve(self, wanted: Sequence[Forwarding], persistent: bool) -> bool:
        """Run to the end. Returns whether the edge asked for a restart."""
        self._listen_to_signals()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._agent.close)
            await stack.enter_async_context(self._console.showing(self._agent))
            await self._until_stop(self._agent.start(persistent=persistent))
            endpoints = await self._until_stop(self._open_all(wanted))
            await self._start_web(stack)
            if endpoints is not None:
                await self._until_stop(_until_all_are_gone(endpoints))
            log.info("closing")
        return self._restart

    async def _open_all(self, wanted: Sequence[Forwarding]) -> list[AgentEndpoint]:
        return [await self._open(one) for one in wanted]

    async def _open(self, one: Forwarding) -> AgentEndpoint:
        endpoint = await self._agent.open(
            one.bind,
            one.upstream,
            name=one.name,
            upstream_tls=one.upstream_tls,
            agent_tls=one.agent_tls,
            inspect=one.inspect,
        )
        self._console.changed()
        return endpoint

    async def _open_described(self, description: dict[str, Any], instead: AgentEndpoint | None) -> AgentEndpoint:
        """Open what a program asked the web interface for; of two schemes, the second is opened beside it."""
        wanted = described_forwardings(description)
        if instead is not None:
            await instead.close()
        return (await self._open_all(wanted))[0]

    async def _start_web(self, stack: AsyncExitStack) -> None:
        """Only after the endpoints are online, which its libraries would delay. An agent works without it, too."""
        if self._keys.web_addr == "false" or self._stop.is_set():
            return
        # In a thread that often lets go of the interpreter, so that the first visitors do not wait for the import.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_IMPORT_SWITCH_SECONDS)
        try:
            interface = await asyncio.to_thread(importlib.import_module, "portico.agent.web")
        finally:
            sys.setswitchinterval(interval)
        try:
            web = interface.WebInterface(
                self._agent,
                self._keys.web_addr,
                allow_hosts=self._keys.web_allow_hosts,
                open_endpoint=self._open_described,
            )
            self._console.web = await web.start()
        except PorticoError as error:
            log.warning("no web interface", extra={"reason": str(error)})
            return
        stack.push_async_callback(web.close)
        log.info("web interface", extra={"address": self._console.web})
        self._console.changed()

    async def _until_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`, or None where a stop comes first. Raises what `work` raises."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _on_status(self, status: SessionStatus) -> None:
        if status.state is SessionState.CONNECTING and status.reason:
            log.warning("cannot connect yet", extra={"reason": status.reason})
        self._console.changed()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
                loop.add_signal_handler(number, self._stop.set)

    async def _obey_stop(self, _: dict[str, object]) -> None:
        log.info("the edge asked this agent to stop")
        self._stop.set()

    async def _obey_restart(self, _: dict[str, object]) -> None:
        log.info("the edge asked this agent to restart")
        self._restart = True
        self._stop.set()


async def _until_all_are_gone(endpoints: list[AgentEndpoint]) -> None:
    """Returns never. Raises PorticoError once all are gone and the edge has ended one of them."""
    if not endpoints:
        await asyncio.Event().wait()
    ends = await asyncio.gather(*(endpoint.wait_closed() for endpoint in endpoints), return_exceptions=True)
    for end in ends:
        if isinstance(end, PorticoError):
            raise end
    await asyncio.Event().wait()  # the web interface has closed them, and may open others
