"""`portico edge`: starts Envoy, control, the relays and the gate, keeps them running, and ends them in good order.

Signals: SIGTERM and SIGINT drain and stop; SIGHUP reads the settings anew and takes over the endpoints that they
declare, and where nothing has changed, it puts a new Envoy (an upgraded binary) in the place of the running one without
refusing a connection; SIGUSR1 opens the access log's file anew.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from portico import event_loop, logs
from portico.certificates.authority import CA_FILE
from portico.edge.addresses import resolve_addresses
from portico.edge.child import Backoff, Child
from portico.edge.data_dir import DataDir
from portico.edge.drain import until_quiet
from portico.edge.gate import SECRETS_FILE, counters_flags, listen, run_when_asked
from portico.edge.layout import lay_out, with_endpoints
from portico.edge.node import SSH_RELAY, Node
from portico.edge.notices import VARIABLE as NOTIFY_SOCKET
from portico.edge.notices import NoticeReceiver
from portico.edge.settings import EdgeSettings
from portico.envoy.binary import envoy_binary
from portico.envoy.bootstrap import BootstrapSettings
from portico.envoy.process import EnvoyProcess, ProcessSettings
from portico.gate.byte_endpoints import DIRECTORY as BYTE_ENDPOINTS
from portico.model.edge import SocketAddress
from portico.model.errors import EDGE_NOT_READY, PorticoError
from portico.relay.link import MOVE_SIGNAL

log = logging.getLogger(__name__)

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0
METRICS_SECONDS: Final = 10.0
"""How old the durations of endpoints in /metrics may be."""
AGENTS_BACKLOG: Final = 4096
SSH_HOST_KEY: Final = "ssh_host_ed25519_key"
"""In the data directory."""
PROCESSES_FILE: Final = "processes"
"""In the data directory: a line `name pid` for each child, for people and their tools."""


def run(settings: EdgeSettings, read_again: Callable[[], EdgeSettings]) -> int:
    """Run an edge until it is told to stop; its exit status. Raises PorticoError for what prevents the start.

    `read_again` reads the settings from where they came.
    """
    logs.configure(level=logging.getLevelName(settings.log_level.upper()), form=settings.log_format)
    wanted = {"--https-addr": settings.https_addr, "--admin-addr": settings.admin_addr}
    if settings.http_addr is not None:
        wanted["--http-addr"] = settings.http_addr
    if settings.ssh_addr is not None:
        wanted["--ssh-addr"] = settings.ssh_addr
    binary = envoy_binary()
    with DataDir.open(settings.data_dir) as data_dir:
        node = lay_out(settings, data_dir, resolve_addresses(wanted))
        event_loop.run(Supervisor(node, settings, binary, read_again).run())
    return 0


class Supervisor:
    """The parent of a node's processes."""

    def __init__(self, node: Node, settings: EdgeSettings, envoy: Path, read_again: Callable[[], EdgeSettings]) -> None:
        self._node = node
        self._settings = settings
        self._read_again = read_again
        self._drain_seconds = settings.drain_seconds
        run_dir = Path(node.run_dir)
        self._held: list[socket.socket] = []
        self._notices = run_dir / "notify.sock"
        self._control = self._child("control", "portico.edge.control", str(node.save()))
        self._relays = [self._relay(name) for name in node.relays]
        if node.ssh is not None:
            self._relays.append(self._ssh_relay(node.ssh))
        self._gate, self._gate_socket = self._gate_child()
        self._envoy = EnvoyProcess(
            ProcessSettings(
                binary=envoy,
                run_dir=run_dir,
                bootstrap=BootstrapSettings(
                    node_id=node.frame.domain,
                    ads_socket=run_dir / "xds.sock",
                    max_connections=settings.max_connections,
                    memory_bytes=settings.memory_bytes,
                    # With each flush Envoy brings its histograms up to date.
                    **({} if settings.endpoint_metrics is None else {"stats_flush_interval": METRICS_SECONDS}),
                ),
                concurrency=settings.envoy_concurrency,
                shares_stdout=node.frame.access_log is not None and not node.frame.access_log.path,
            ),
            on_exit=lambda _: self._envoy_ended.set(),
        )
        self._envoy_ended = asyncio.Event()
        self._configured = asyncio.Event()
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Start everything, say `ready`, stay until a signal. Raises PorticoError where it does not become ready."""
        self._listen_to_signals()
        notices = await NoticeReceiver.listen(self._notices, self._on_notice)
        tasks = [asyncio.create_task(child.run(), name=child.name) for child in (self._control, *self._relays)]
        tasks.append(asyncio.create_task(run_when_asked(self._gate, self._gate_socket), name="gate"))
        tasks.append(asyncio.create_task(self._keep_envoy(), name="envoy"))
        try:
            await self._until_ready(tasks)
            if not self._stop.is_set():
                print(self._ready_line(), flush=True)
                await self._until_told_to_stop(tasks)
                await self._drain()
        finally:
            await self._end(tasks)
            notices.close()

    def _relay(self, name: str) -> Child:
        """A relay. Its agents' socket is held here: while a dead relay starts anew, agents wait in its backlog.

        A refused one may stay away for two minutes (the back-off of ngrok's Rust SDKs: 0, 0.05, 2.5 and 125 seconds).
        """
        node = self._node
        directory = Path(node.run_dir, name)
        directory.mkdir(mode=0o700, exist_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(directory / "agents.sock"))
        listening.listen(AGENTS_BACKLOG)
        self._held.append(listening)
        descriptor = listening.fileno()
        return self._child(
            name,
            "portico.relay",
            *("--name", name, "--run-dir", node.run_dir, "--agents-fd", str(descriptor)),
            *("--log-format", node.log_format, "--log-level", node.log_level),
            inherited=(descriptor,),
        )

    def _ssh_relay(self, address: SocketAddress) -> Child:
        """The relay of SSH clients, with its public socket held here for the same reason."""
        node = self._node
        listening = socket.create_server(
            (address.host, address.port),
            family=socket.AF_INET6 if ":" in address.host else socket.AF_INET,
            backlog=AGENTS_BACKLOG,
        )
        self._held.append(listening)
        descriptor = listening.fileno()
        return self._child(
            SSH_RELAY,
            "portico.ssh",
            *("--name", SSH_RELAY, "--run-dir", node.run_dir, "--listen-fd", str(descriptor)),
            *("--host-key", str(Path(node.data_dir, SSH_HOST_KEY))),
            *("--log-format", node.log_format, "--log-level", node.log_level),
            inherited=(descriptor,),
        )

    def _gate_child(self) -> tuple[Child, socket.socket]:
        """The gate, with its socket held here: while it starts, who asks waits in the backlog."""
        node = self._node
        listening = listen(node.frame.gate_socket)
        self._held.append(listening)
        descriptor = listening.fileno()
        child = self._child(
            "gate",
            "portico.gate",
            *("--listen-fd", str(descriptor), "--secrets", str(Path(node.run_dir, SECRETS_FILE))),
            *("--edge-ca", str(Path(node.data_dir, CA_FILE)), "--internal", node.frame.internal_socket),
            *("--byte-endpoints", str(Path(node.run_dir, BYTE_ENDPOINTS))),
            *counters_flags(node.database, Path(node.run_dir)),
            *(part for network in node.policy_networks for part in ("--allow", network)),
            *("--log-format", node.log_format, "--log-level", node.log_level),
            inherited=(descriptor,),
        )
        return child, listening

    def _child(self, name: str, module: str, *arguments: str, inherited: tuple[int, ...] = ()) -> Child:
        node = self._node
        environment = {
            **os.environ,
            NOTIFY_SOCKET: str(self._notices),
            "PORTICO_MARK_HEADER": node.frame.mark_header,
        }
        return Child(name, module, arguments, environment, self._write_processes, inherited)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR1, self._envoy.reopen_logs)

    def _on_notice(self, line: str) -> None:
        match line:
            case "READY=1":
                self._ready.set()
            case "X_PORTICO_XDS=1":
                self._configured.set()

    async def _until_ready(self, tasks: list[asyncio.Task[None]]) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, self._stop)]
        try:
            done, _ = await asyncio.wait([*waits, *tasks], timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        ended = next((task for task in tasks if task in done), None)
        if ended is not None or not done:
            reason = f"{ended.get_name()} ended" if ended else f"not everything served within {START_SECONDS:g} s"
            raise PorticoError(EDGE_NOT_READY, f"the edge did not start: {reason}")

    async def _until_told_to_stop(self, tasks: list[asyncio.Task[None]]) -> None:
        told = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        ended = next((task for task in tasks if task in done), None)
        if ended is not None:
            raise PorticoError(EDGE_NOT_READY, f"{ended.get_name()} cannot go on")

    async def _keep_envoy(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        await self._configured.wait()
        while not self._stop.is_set():
            started = loop.time()
            self._envoy_ended.clear()
            try:
                await self._envoy.start()
                self._write_processes()
                await self._envoy_ended.wait()
            except PorticoError as error:
                log.error("envoy did not start", extra={"code": str(error.code), "reason": error.message})
            delay = backoff.next_delay(loop.time() - started)
            log.error("child died; restarting", extra={"child": "envoy", "in_s": delay})
            await asyncio.sleep(delay)

    def _reload(self) -> None:
        """Take over what the settings say now; nothing of it where something is wrong with them."""
        try:
            settings = self._read_again()
            node = with_endpoints(self._node, settings)
        except PorticoError as error:
            log.error("the settings are not taken over", extra={"code": str(error.code), "reason": error.message})
            return
        before, self._settings = self._settings, settings
        changed = [name for name in EdgeSettings.model_fields if getattr(before, name) != getattr(settings, name)]
        if later := [name for name in changed if name != "endpoints"]:
            log.warning("these settings take a restart", extra={"settings": later})
        if not changed:
            self._replace_envoy()
        elif node != self._node:
            self._node = node
            node.save()
            self._control.signal(signal.SIGHUP)

    def _replace_envoy(self) -> None:
        async def replace() -> None:
            try:
                await self._envoy.hot_restart()
                self._write_processes()
                log.info("a new Envoy took over", extra={"pid": self._envoy.pid})
                for relay in self._relays:
                    relay.signal(MOVE_SIGNAL)
            except PorticoError as error:
                log.error("the old Envoy goes on", extra={"code": str(error.code), "reason": error.message})

        self._replacing = asyncio.create_task(replace(), name="hot-restart")

    def _write_processes(self) -> None:
        pids = [
            ("envoy", self._envoy.pid),
            *((child.name, child.pid) for child in (self._control, *self._relays, self._gate)),
        ]
        lines = [f"{name} {pid}\n" for name, pid in pids if pid is not None]
        Path(self._node.data_dir, PROCESSES_FILE).write_text("".join(lines))

    def _ready_line(self) -> str:
        frame = self._node.frame
        facts = {"domain": frame.domain, "https": frame.https, "http": frame.http or "off", "admin": self._node.admin}
        facts["ssh"] = self._node.ssh or "off"
        facts["data"] = self._node.data_dir
        return "ready " + " ".join(f"{name}={value}" for name, value in facts.items())

    async def _drain(self) -> None:
        log.info("draining", extra={"at_most_s": self._drain_seconds})
        self._control.signal(signal.SIGUSR1)
        await until_quiet(self._envoy.admin, self._drain_seconds)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        self._stop.set()
        tasks[-1].cancel()
        await asyncio.gather(*(child.stop(STOP_SECONDS) for child in (*self._relays, self._gate)))
        tasks[-2].cancel()  # it may wait for a first question
        await self._envoy.stop()
        await self._control.stop(STOP_SECONDS)
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._held:
            listening.close()
        Path(self._node.data_dir, PROCESSES_FILE).unlink(missing_ok=True)
