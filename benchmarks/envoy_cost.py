"""What each layer of our HTTP configuration costs Envoy.

    python -m benchmarks.envoy_cost [REQUESTS]

Prints instructions for a request on a kept HTTP/1.1 connection: of the configuration as it is, then with one layer
after the other taken off, and of the shortest configuration that a person would write. Callgrind counts them, because a
layer costs less than what processor time swings by from one process to the next, and many virtual machines have no
counters. The kernel's share, a fifth, is not counted; system calls are the same six for every layer. Needs valgrind and
a few minutes; the default of 200 requests is good for half a percent.
"""

import asyncio
import dataclasses
import http.client
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.service import small_answers
from kit.envoy import Rig, require_envoy
from kit.ports import free_port
from portico.envoy.bootstrap import BootstrapSettings
from portico.envoy.process import EnvoyProcess, ProcessSettings
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import Endpoint, EndpointUrl, UnixSocket
from portico.translate.endpoints import endpoint_resources
from portico.translate.listeners import http_listener
from portico.translate.resource import CLUSTER, SCOPE, Resource
from portico.translate.typed import Body, extension, socket_address

REQUESTS = 200
RUNS = 3
"""The least of them counts: timers and threads beside the requests only ever add."""
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


@dataclass(frozen=True)
class Parts:
    """One endpoint's configuration, to be changed in place."""

    manager: Body
    routes: Body
    cluster: Body

    @property
    def host(self) -> Body:
        """The one virtual host."""
        found: Body = self.routes["virtual_hosts"][0]
        return found

    @property
    def route(self) -> Body:
        """The one route."""
        found: Body = self.host["routes"][0]
        return found


Strip: TypeAlias = Callable[[Parts], None]


def _marks(parts: Parts) -> None:
    for level in (parts.route, parts.host):
        del level["response_headers_to_add"]
    del parts.routes["response_headers_to_remove"]


def _codes(parts: Parts) -> None:
    del parts.route["response_headers_to_remove"]


def _forged(parts: Parts) -> None:
    del parts.routes["request_headers_to_remove"]
    _keep_early(parts, lambda each: "append" in each)


def _host_told(parts: Parts) -> None:
    _keep_early(parts, lambda each: each["append"]["header"]["key"] != "x-forwarded-host")


def _keep_early(parts: Parts, wanted: Callable[[Any], bool]) -> None:
    mutation = parts.manager["early_header_mutation_extensions"][0]["typed_config"]
    mutation["mutations"] = list(filter(wanted, mutation["mutations"]))


def _retries(parts: Parts) -> None:
    del parts.route["route"]["retry_policy"]


def _head_time(parts: Parts) -> None:
    del parts.manager["request_headers_timeout"]


def _visitor(parts: Parts) -> None:
    for field in ("use_remote_address", "append_x_forwarded_port", "internal_address_config"):
        del parts.manager[field]


def _filters(parts: Parts) -> None:
    del parts.manager["http_filters"][:-1]
    del parts.host["typed_per_filter_config"]


def _scopes(parts: Parts) -> None:
    del parts.manager["scoped_routes"], parts.manager["early_header_mutation_extensions"]
    parts.manager["route_config"] = parts.routes


def _all(parts: Parts) -> None:
    """Envoy's defaults do more for a request than what is left of ours: ids, counters, headers of its own."""
    kind = parts.manager["@type"]
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": parts.cluster["name"]}}]
    parts.manager.clear()
    parts.manager.update(
        {"@type": kind, "stat_prefix": "http"},
        http_filters=[extension("envoy.filters.http.router", _ROUTER)],
        route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    )
    for field in ("per_connection_buffer_limit_bytes", "stats_matcher", "typed_extension_protocol_options"):
        del parts.cluster[field]


LAYERS: tuple[tuple[str, Strip], ...] = (
    ("as it is", lambda _: None),
    ("less the marks of relays", _marks),
    ("less error codes taken from upstreams", _codes),
    ("less headers taken from visitors", _forged),
    ("less x-forwarded-host", _host_told),
    ("less safe retries", _retries),
    ("less the time limit of a request's head", _head_time),
    ("less x-forwarded-for and its kin", _visitor),
    ("less the filters lookup and networks", _filters),
    ("less scopes and their key", _scopes),
    ("the shortest configuration", _all),
)
"""In the order in which they are taken off."""


@dataclass(frozen=True)
class Layer:
    """A listener of its own, and what is published for it."""

    port: int
    host: str
    resources: list[Resource]

    @classmethod
    def at(cls, number: int, service: int) -> "Layer":
        """The configuration of a tunnel's endpoint, less `number` layers, with the service in the relay's place."""
        address, name = SocketAddress("127.0.0.1", free_port()), f"layer{number}.edge.test"
        frame = EdgeFrame("edge.test", SocketAddress("127.0.0.1", 443), address, "127.0.0.1", (), "api.sock", "x-mark")
        endpoint = Endpoint(EndpointUrl.parse(f"http://{name}"), (UnixSocket("relay.sock"),))
        made = {each.type_url: each for each in endpoint_resources(endpoint, frame)}
        listener, cluster, scope = http_listener(frame, address), made[CLUSTER], made[SCOPE]
        listener.body["name"] = name
        (host,) = cluster.body["load_assignment"]["endpoints"][0]["lb_endpoints"]
        host["endpoint"]["address"] = socket_address("127.0.0.1", service)
        manager = listener.body["filter_chains"][0]["filters"][0]["typed_config"]
        parts = Parts(manager, scope.body["route_configuration"], cluster.body)
        for _, strip in LAYERS[: number + 1]:
            strip(parts)
        scopes = [scope] if "scoped_routes" in manager else []
        return cls(address.port, name, [cluster, *scopes, dataclasses.replace(listener, name=name)])

    def ask(self, count: int) -> None:
        """Some requests on one connection."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as visitor:
            for _ in range(count):
                visitor.request("GET", "/", headers={"host": self.host, "user-agent": "envoy_cost"})
                with visitor.getresponse() as answer:
                    if answer.status != http.HTTPStatus.OK or not answer.read():
                        raise RuntimeError(f"{self.host}: {answer.status}")


class Counted:
    """An Envoy under callgrind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.rig = Rig(directory)
        counting = f"valgrind -q --tool=callgrind --callgrind-out-file={directory}/counts"
        program = directory / "envoy"
        program.write_text(f'#!/bin/sh\nexec {counting} {require_envoy()} "$@"\n')
        program.chmod(0o700)
        bootstrap = BootstrapSettings("cost", self.rig.ads_socket)
        self.rig.envoy = EnvoyProcess(ProcessSettings(program, directory, bootstrap, concurrency=1))

    def instructions(self) -> int:
        """Executed since this was last asked."""
        subprocess.run(["callgrind_control", "-d", str(self.rig.envoy.pid)], check=True, capture_output=True)
        newest = max(self._directory.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        (line,) = [line for line in newest.read_text(errors="replace").splitlines() if line.startswith("totals:")]
        return int(line.split()[1])

    def cost(self, layer: Layer, count: int) -> float:
        """Instructions a request."""
        found = []
        for _ in range(RUNS):
            self.instructions()
            layer.ask(10)
            connecting = self.instructions()
            layer.ask(10 + count)
            found.append((self.instructions() - connecting) / count)
        return min(found)


async def measure(count: int) -> None:
    """One line a layer."""
    with tempfile.TemporaryDirectory(prefix="pe") as folder, small_answers(Path(folder)) as service:
        counted = Counted(Path(folder))
        rig = counted.rig
        await rig.ads.start()
        await rig.envoy.start(timeout=300)
        layers = [Layer.at(number, service.port) for number in range(len(LAYERS))]
        for layer in layers:
            await rig.ads.publish(layer.resources, timeout=120)
            await asyncio.to_thread(layer.ask, 40)
        costs = [await asyncio.to_thread(counted.cost, layer, count) for layer in layers]
        await rig.stop()
    print_layers("instructions a request", [name for name, _ in LAYERS], costs)


def print_layers(title: str, layers: Sequence[str], costs: Sequence[float]) -> None:
    """One line a layer: what was taken off the one before, and how far it still is above the last, the shortest."""
    print(f"{title:42} {'in all':>10} {'layer':>8} {'over the shortest':>18}")
    for name, cost, above in zip(layers, costs, [costs[0], *costs], strict=False):
        print(f"{name:42} {cost:10,.0f} {above - cost:8,.0f} {100 * (cost / costs[-1] - 1):16.1f} %")


if __name__ == "__main__":
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing")
    logging.disable(logging.WARNING)
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS))
