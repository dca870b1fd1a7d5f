"""`portico diagnose`: the way to the edge, step by step, with what to do where it ends."""

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from portico.cli.failures import FAILED, warn
from portico.cli.setup import Setup, config_files, edge_options
from portico.model.errors import CONFIG_MISSING, CONNECT_FAILED, EDGE_UNTRUSTED, PorticoError
from portico.version import __version__

if TYPE_CHECKING:
    from portico.agent.link import EdgeLink
    from portico.agent.settings import SessionSettings


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    milliseconds: float = 0.0


class Examination:
    """Goes the way to one edge, until a step fails. What it finds holds no secret."""

    def __init__(self, settings: "SessionSettings", *, all_addresses: bool, show: Callable[[Step], None]) -> None:
        self._settings = settings
        self._all = all_addresses
        self._show = show
        self._addresses: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
        self._link: EdgeLink | None = None
        self.steps: list[Step] = []

    async def run(self) -> bool:
        """Whether every step succeeded."""
        ways = {
            "name": self._name,
            "connection": self._connection,
            "certificate": self._certificate,
            "session": self._session,
            "latency": self._latency,
        }
        try:
            return all([await self._step(name, way()) for name, way in ways.items() if self._may_go_on()])
        finally:
            if self._link is not None:
                self._link.protocol.abort("diagnosed")

    def _may_go_on(self) -> bool:
        return all(step.ok for step in self.steps)

    async def _step(self, name: str, way: Coroutine[Any, Any, str]) -> bool:
        started = perf_counter()
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found = await way
            step = Step(name, True, found)
        except PorticoError as error:
            step = Step(name, False, f"{error.message} ({error.code})", error.fix)
        except TimeoutError:
            step = Step(name, False, f"no answer in {self._settings.connect_timeout:g} seconds", CONNECT_FAILED.fix)
        step = Step(step.name, step.ok, step.found, step.advice, round((perf_counter() - started) * 1000, 1))
        self.steps.append(step)
        self._show(step)
        return step.ok

    async def _name(self) -> str:
        from portico.agent.names import is_loopback_name, resolve

        edge = self._settings.edge
        try:
            self._addresses = await resolve(edge.host, edge.port)
        except OSError as error:
            raise PorticoError(
                CONNECT_FAILED,
                f"the name {edge.host} is not known: {error.strerror or error}",
                fix="Check connect_url for a slip of the pen, and this machine's DNS.",
            ) from None
        found = ", ".join(address[0] for _, address in self._addresses)
        loopback = " (a loopback name; DNS is not asked)" if is_loopback_name(edge.host) else ""
        return f"{edge.host} is {found}{loopback}"

    async def _connection(self) -> str:
        from portico.agent.dial import open_socket
        from portico.agent.dial_reason import explain

        reached, failed = [], []
        for family, address in self._addresses:
            try:
                (await open_socket(family, address)).close()
                reached.append(address[0])
            except OSError as error:
                failed.append(f"{address[0]}: {explain(error)[1]}")
        if not reached or (self._all and failed):
            raise PorticoError(
                CONNECT_FAILED,
                f"port {self._settings.edge.port} of {'; '.join(failed)}",
                fix="Check that the edge runs, its port in connect_url, and the firewalls on the way.",
            )
        return f"{self._settings.edge} answers at {', '.join(reached)}"

    async def _certificate(self) -> str:
        from portico.agent.edge_address import edge_context

        settings = self._settings
        context = edge_context(settings.connect_cas, settings.edge_ca_pem)
        try:
            version = await self._handshake(context)
        except ssl.SSLCertVerificationError as error:
            raise PorticoError(
                EDGE_UNTRUSTED, f"{error.verify_message}; the edge shows {await self._shown()}"
            ) from None
        except (OSError, ssl.SSLError) as error:
            raise PorticoError(
                CONNECT_FAILED,
                f"no TLS: {getattr(error, 'reason', None) or error}",
                fix="Check that connect_url names the edge's https port.",
            ) from None
        return f"{version}, trusted for {settings.edge.host} by {settings.connect_cas or 'the system'}"

    async def _handshake(self, context: ssl.SSLContext) -> str:
        _, writer = await self._open(context)
        try:
            return str(writer.get_extra_info("ssl_object").version())
        finally:
            writer.transport.abort()

    async def _open(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        edge = self._settings.edge
        failure: OSError | None = None
        for _, (host, port) in self._addresses:
            try:
                return await asyncio.open_connection(host, port, ssl=context, server_hostname=edge.host)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = failure or error
        raise failure or OSError("no address")

    async def _shown(self) -> str:
        """Names and issuer of the certificate that was not trusted."""
        from cryptography import x509

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            _, writer = await self._open(context)
        except OSError:
            return "no certificate"
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        certificate = x509.load_der_x509_certificate(shown)
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = ", ".join(str(name.value) for name in extension)
        except x509.ExtensionNotFound:
            names = "no name"
        return f"a certificate for {names}, signed by {certificate.issuer.rfc4514_string() or 'nobody named'}"

    async def _session(self) -> str:
        from portico.agent.link import Identity, Linker

        linker = Linker(self._settings, lambda stream: stream.reset(), lambda event: None, frozenset())
        self._link = await linker.connect(Identity())
        facts = self._link.facts
        return (
            f"signed in as {facts.account or 'an unnamed owner'}; the edge is {facts.version or 'of no known version'}"
        )

    async def _latency(self) -> str:
        from portico.tunnel.messages import StreamKind

        assert self._link is not None
        trips = []
        for _ in range(3):
            started = perf_counter()
            await self._link.ask(StreamKind.SRV_INFO, {}, self._settings.connect_timeout, CONNECT_FAILED)
            trips.append(perf_counter() - started)
        return f"{min(trips) * 1000:.1f} ms there and back"


@click.command()
@edge_options
@click.option("-6", "--ipv6", "ipv6", is_flag=True, help="Every address must answer, those of IPv6 included.")
@click.option("-r", "--region", hidden=True)
@click.option("-w", "--write-report", "report", metavar="FILE", help="Write what was found as JSON, without secrets.")
def diagnose(ipv6: bool, region: str | None, report: str | None, **parameters: Any) -> int:
    """Find out why the edge cannot be reached. Exits with 0 if it can, otherwise with 1."""
    from portico import event_loop

    if region is not None:
        warn("--region is deprecated; use --connect-url")
    steps: list[Step] = []
    try:
        files = ", ".join(map(str, config_files(parameters["config"]))) or "no file"
        settings = Setup.take(parameters).session()
        steps.append(Step("configuration", True, f"{files}; the edge is {settings.edge}"))
    except PorticoError as error:
        steps.append(Step("configuration", False, f"{error.message} ({error.code})", error.fix))
    _show(steps[0])
    if steps[0].ok:
        examination = Examination(settings, all_addresses=ipv6, show=_show)
        event_loop.run(examination.run())
        steps += examination.steps
    if report:
        _write(Path(report), steps)
    return 0 if all(step.ok for step in steps) else FAILED


def _show(step: Step) -> None:
    mark = click.style("ok    ", fg="green") if step.ok else click.style("failed", fg="red")
    click.echo(f"{mark}  {step.name:<14} {step.found}")
    if step.advice:
        click.echo(f"{'':<24}{step.advice}")


def _write(path: Path, steps: list[Step]) -> None:
    text = json.dumps({"version": __version__, "steps": [asdict(step) for step in steps]}, indent=2)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise PorticoError(
            CONFIG_MISSING, f"{path} cannot be written: {error.strerror}", fix="Name another file."
        ) from None
    click.echo(f"the report is in {path}")
