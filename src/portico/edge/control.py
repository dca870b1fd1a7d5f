"""Control: the process that decides. Started by the supervisor as `python -m portico.edge.control NODE_FILE`."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portico import event_loop, logs
from portico.certificates.acme_rules import AcmeRules
from portico.certificates.authority import Authority
from portico.certificates.certificates import Certificates
from portico.edge.admin import Metrics, NodeState, admin_app
from portico.edge.admission import Admission
from portico.edge.agents import Agents
from portico.edge.byte_endpoints import ToldGate
from portico.edge.child import FATAL_STATUS
from portico.edge.cloud import Cloud
from portico.edge.declared import Declared
from portico.edge.endpoint_metrics import EndpointMetrics
from portico.edge.gate_secrets import write_gate_secrets
from portico.edge.live import CertificatesInUse, Live, Reservations
from portico.edge.name_lookup import NameLookup
from portico.edge.node import NODE_FILE, Node
from portico.edge.notices import notify
from portico.edge.other_nodes import OtherNodes
from portico.edge.policy_reader import PolicyReader
from portico.edge.public_names import PublicNames
from portico.edge.publisher import Publisher
from portico.edge.registry import Registry
from portico.edge.relay_links import RelayLinks
from portico.edge.reload import take_over
from portico.edge.served import Served
from portico.edge.ssh_door import SshDoor
from portico.edge.ticket_keys import TicketKeys
from portico.edge.web_server import OnFirstRequest, served
from portico.envoy.admin import Admin, AdminError
from portico.envoy.ads import AdsServer
from portico.envoy.binary import envoy_binary
from portico.envoy.descriptors import load_message_types
from portico.model.acme import AcmeCertificate
from portico.model.endpoint import Endpoint, EndpointUrl, Scheme
from portico.model.errors import DATABASE_UNUSABLE, PorticoError
from portico.relay.link import FromControl, FromRelay, Hello, SshQuestion
from portico.store.declared_owners import apply_owners
from portico.store.first_start import first_start
from portico.store.store import Store
from portico.translate.names import EDGE_CERTIFICATE, LOCAL_CERTIFICATE
from portico.translate.resource import Resource
from portico.translate.tls import secret_resource, ticket_keys_resource

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from portico.edge.acme import Acme

log = logging.getLogger(__name__)
RESYNC_SECONDS: Final = 5.0
"""How long a starting control waits for the relays to say what is live, and for the names of upstreams, before it
answers Envoy without them."""
CERTIFICATE_CHECK_SECONDS: Final = 3600.0
FAILED_STATUS: Final = 1


class Control:
    """Composition of the parts that decide, and their order of start and end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        data_dir, run_dir = Path(node.data_dir), Path(node.run_dir)
        self._store = Store.open(data_dir, node.database)
        first_start(self._store, data_dir)
        apply_owners(self._store, node.owners)
        write_gate_secrets(self._store, run_dir)
        self._metrics = Metrics()
        self._reservations = Reservations(self._store)
        self._registry = Registry(node.naming, node.limits)
        self._registry.declare([(one.url, one.labels) for one in node.labelled], dict(node.balancing))
        self._registry.reserve(self._reservations.domains, self._reservations.ports)
        self._declared = Declared(self._registry, node.declared, self._reservations.operator)
        self._cloud = Cloud(self._registry, self._store, node.frame.minimum_tls)
        self._cloud.begin()
        self._lookup = NameLookup(self._declared.hosts, self._on_moved, run_dir / "names.json")
        authority = Authority.load_or_create(data_dir, datetime.now(UTC))
        self._acme = self._automatic(node.acme) if node.acme else None
        self._certificates = Certificates(
            authority,
            node.frame.domain,
            self._may_issue,
            self._reservations.uploads,
            self._acme.best_for if self._acme else None,
        )
        self._ticket_keys = TicketKeys(self._store)
        self._hosts: set[str] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        types = load_message_types(envoy_binary(), data_dir / "cache")
        self._ads = AdsServer(
            run_dir / "xds.sock", types, on_secret_wanted=self._secret, on_secret_released=self._hosts.discard
        )
        self._endpoint_metrics = EndpointMetrics(node.endpoint_metrics)
        policies = PolicyReader(self._store)
        uploads = self._reservations.uploads
        served = Served(
            self._registry, uploads, node.frame, self._lookup.addresses, self._endpoint_metrics, policies.filled
        )
        counts_together = node.frame.shared_counts is not None
        gate = ToldGate(run_dir, node.frame.gate_socket, counts_together=counts_together)
        self._publisher = Publisher(self._ads, node.frame, served.endpoint, self._on_online, gate)
        admission = Admission(self._store)
        self._agents = Agents(node, self._registry, self._publisher, admission, self._metrics, policies.missing_secrets)
        self._ssh = SshDoor(node.naming, self._registry, self._agents, admission, self._metrics)
        self._links = RelayLinks(run_dir / "control.sock", self._on_hello, self._answer)
        self._agents.send = self._links.send
        self._live = Live(
            self._registry,
            self._agents,
            self._links,
            self._publisher,
            self._reservations,
            CertificatesInUse(self._secrets_in_use, served.outdated),
            self._acme.state if self._acme else lambda _: None,
            self._cloud,
        )
        self._others = OtherNodes(self._store, self._registry, self._cloud, self._live)
        self._taking_over: asyncio.Task[None] | None = None
        self._resynced = asyncio.Event()
        self._serving = False
        self._draining = False

    async def run(self) -> None:
        """Serve until SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, self._drain)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        if self._acme is not None:
            await self._acme.load()
        async with self._web_servers(), self._acme.answering() if self._acme else contextlib.nullcontext():
            self._ads.hold()
            await self._ads.start()
            notify("X_PORTICO_XDS=1")
            await self._links.start()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESYNC_SECONDS):
                    await asyncio.gather(self._resynced.wait(), self._lookup.look_up())
            publication = self._publisher.begin(self._urls(), self._edge_secrets())
            self._ads.open()
            await self._publisher.begun(publication)
            self._serving = True
            self._read_again()  # the supervisor may have said so before there was anything to change
            notify("READY=1")
            log.info("control serves", extra={"endpoints": sum(1 for _ in self._registry.urls)})
            self._want_certificates()
            repeated = (self._renew_certificates(), self._lookup.run(), self._others.run())
            tasks = [asyncio.create_task(work) for work in repeated]
            await stop.wait()
            for task in tasks:
                task.cancel()
            await self._links.close()
            await self._ads.stop()
        self._store.close()

    async def _answer(self, relay: str, message: FromRelay) -> FromControl | None:
        if isinstance(message, SshQuestion):
            return await self._ssh.answer(relay, message)
        return await self._agents.answer(relay, message)

    def _on_hello(self, hello: Hello) -> None:
        urls = self._agents.restore(hello)
        if self._serving:
            self._agents.publish_later(urls)
        if self._links.relays | {hello.relay} >= set(self._node.links):
            self._resynced.set()

    def _on_moved(self, host: str) -> None:
        """An upstream's name leads elsewhere now."""
        if self._serving:
            self._agents.publish_later(self._declared.urls(host))

    def _read_again(self) -> None:
        """The supervisor has written what the settings declare now."""
        if not self._serving:
            return
        node = Node.load(Path(self._node.run_dir, NODE_FILE))
        if (node.labelled, node.declared, node.balancing) == (
            self._node.labelled,
            self._node.declared,
            self._node.balancing,
        ):
            return
        self._node = node
        work = take_over(node, self._registry, self._declared, self._lookup, self._agents.publish_later)
        if self._taking_over is not None:
            self._taking_over.cancel()  # it may still look names up; what it has not changed yet is out of date
        self._taking_over = asyncio.create_task(work, name="take-over")

    def _urls(self) -> set[EndpointUrl]:
        """What Envoy is to know at the start: what is live, and the reserved names that are offline."""
        return {*self._registry.urls, *self._registry.reserved_urls}

    def _may_issue(self, host: str) -> bool:
        return host.endswith(f".{self._node.frame.domain}") or self._registry.serves(host)

    def _automatic(self, rules: AcmeRules) -> "Acme":
        from portico.edge.acme import Acme

        names_for = PublicNames(
            rules,
            self._node.frame,
            self._registry.endpoint,
            lambda host: self._reservations.uploads.best_for(host, datetime.now(UTC)) is not None,
        )
        return Acme(rules, self._node.frame, self._store, names_for, self._on_certificate)

    def _on_certificate(self, certificate: AcmeCertificate) -> None:
        """An automatic certificate is there, or renewed: give it to Envoy; open connections do not notice."""
        covered = [host for host in self._hosts if certificate.covers(host)]
        if self._serving:
            task = asyncio.create_task(self._replace_certificates(covered))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    def _on_online(self, endpoint: Endpoint) -> None:
        """An endpoint is online: its certificate should be there before its first visitor."""
        if self._acme is not None and not endpoint.is_internal and endpoint.url.scheme in (Scheme.HTTPS, Scheme.TLS):
            self._acme.want(endpoint.url.host.replace("*.", "any.", 1))

    def _want_certificates(self) -> None:
        """What is wanted from the start: the edge's own names, and those of endpoints."""
        if self._acme is not None:
            self._acme.want(self._node.frame.domain)
            self._acme.begin()
        for url in self._urls():
            if (endpoint := self._registry.endpoint(url)) is not None:
                self._on_online(endpoint)

    def _secret(self, name: str) -> Resource | None:
        if self._acme is not None:
            self._acme.want(name)
        pair = self._certificates.for_name(name)
        if pair is None:
            return None
        self._hosts.add(name)
        return secret_resource(name, pair)

    def _secrets_in_use(self) -> list[Resource]:
        return self._secrets_of(self._hosts)

    def _secrets_of(self, hosts: Iterable[str]) -> list[Resource]:
        return [secret for name in sorted(hosts) if (secret := self._secret(name))]

    def _edge_secrets(self) -> list[Resource]:
        public = [
            secret_resource(EDGE_CERTIFICATE, self._certificates.edge_pair()),
            ticket_keys_resource(self._ticket_keys.at(time.time())),
        ]
        if self._acme is None:
            return public
        return [*public, secret_resource(LOCAL_CERTIFICATE, self._certificates.local_pair())]

    async def _renew_certificates(self) -> None:
        """Give Envoy a new certificate well before the old one ends; open connections do not notice."""
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_SECONDS)
            # All, not only those that are due: an upload may have expired, and another one takes its place.
            await self._replace_certificates(self._hosts)

    async def _replace_certificates(self, hosts: Iterable[str]) -> None:
        try:
            await self._publisher.replace([*self._edge_secrets(), *self._secrets_of(hosts)])
        except PorticoError as error:
            log.error("certificates are not renewed", extra={"code": str(error.code), "reason": error.message})

    def _drain(self) -> None:
        self._draining = True

    def _state(self) -> NodeState:
        missing = [f"relay {name}" for name in self._node.links if name not in self._links.relays]
        missing += [] if self._serving else ["the first configuration"]
        missing += [] if self._ads.connected else ["envoy"]
        missing += ["it is draining"] if self._draining else []
        expires = self._certificates.expiries().edge
        return NodeState(
            ready=not missing,
            reasons=tuple(missing),
            sessions=sum(1 for _ in self._registry.sessions),
            endpoints=sum(1 for _ in self._registry.urls),
            certificate_days=(expires - datetime.now(UTC)).total_seconds() / 86_400,
            automatic=tuple(self._acme.states()) if self._acme else (),
        )

    async def _envoy_figures(self) -> str:
        # The current Envoy has the highest epoch.
        sockets = Path(self._node.run_dir).glob("envoy-*.admin.sock")
        newest = max(sockets, key=lambda path: int(path.name.split("-")[1].split(".")[0]), default=None)
        try:
            return self._endpoint_metrics.shown(await Admin(newest).metrics()) if newest else ""
        except AdminError:
            return ""

    @contextlib.asynccontextmanager
    async def _web_servers(self) -> AsyncIterator[None]:
        admin = admin_app(self._metrics, self._state, self._links.figures, self._envoy_figures)
        address = self._node.admin
        async with (
            served(admin, host=address.host, port=address.port),
            served(OnFirstRequest(self._api), uds=self._node.frame.api_socket),
        ):
            yield

    def _api(self) -> "ASGIApp":
        from portico.api.app import api_app

        return api_app(self._store, self._live)


def main() -> int:
    """Run control; returns FATAL_STATUS where another start would end the same way."""
    node = Node.load(Path(sys.argv[1]))
    logs.configure(level=logging.getLevelName(node.log_level.upper()), form=node.log_format, process="control")

    async def serve() -> None:
        await Control(node).run()

    try:
        event_loop.run(serve())
    except PorticoError as error:
        log.error(error.message, extra={"code": str(error.code), "fix": error.fix})
        # A database that cannot be reached will be: another start does not end the same way.
        return FAILED_STATUS if error.code is DATABASE_UNUSABLE else FATAL_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
