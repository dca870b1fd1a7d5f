"""What each layer of our https listener costs Envoy in a handshake.

    python -m benchmarks.handshake_cost [HANDSHAKES]

Prints instructions for a connection with a full TLS 1.3 handshake and no request, counted by callgrind as
`benchmarks.envoy_cost` counts them: of the listener with every setting, then with one layer after the other taken off.
Needs valgrind and two minutes.
"""

import asyncio
import copy
import dataclasses
import logging
import os
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.envoy_cost import RUNS, Counted, print_layers
from kit.ports import free_port
from kit.translated import Authority
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import EdgeTls, Endpoint, EndpointUrl, UnixSocket
from portico.translate import names
from portico.translate.endpoints import endpoint_resources
from portico.translate.listeners import frame_resources, https_listener
from portico.translate.resource import Resource
from portico.translate.sni import SniTable
from portico.translate.tls import secret_resource, ticket_keys_resource
from portico.translate.typed import Body

HANDSHAKES: Final = 60
_DOMAIN: Final = "edge.test"
_HOST: Final = f"a.{_DOMAIN}"
_ENDPOINT: Final = Endpoint(EndpointUrl.parse(f"https://{_HOST}"), (UnixSocket("relay.sock"),), tls=EdgeTls())

Strip: TypeAlias = Callable[[Body, Body], None]
"""Takes something off a listener; the second is the chain that its visitors enter by."""


def _fingerprints(listener: Body, _: Body) -> None:
    del listener["listener_filters"][0]["typed_config"]["enable_ja4_fingerprinting"]


def _log(listener: Body, _: Body) -> None:
    del listener["access_log"]


def _chains(listener: Body, chain: Body) -> None:
    """Without a choice of chains: this is all that it has."""
    del listener["filter_chain_matcher"], listener["fcds_config"]
    listener["filter_chains"] = [copy.deepcopy(chain)]


def _server_name(listener: Body, _: Body) -> None:
    del listener["listener_filters"], listener["listener_filters_timeout"]


def _time_limit(listener: Body, _: Body) -> None:
    del listener["filter_chains"][0]["transport_socket_connect_timeout"]


def _settings_of_tls(listener: Body, _: Body) -> None:
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    del context["session_ticket_keys_sds_secret_config"], context["common_tls_context"]["tls_params"]


LAYERS: Final[tuple[tuple[str, Strip], ...]] = (
    ("with fingerprints (`tls_fingerprints`)", lambda *_: None),
    ("as it is", _fingerprints),
    ("less the log of failed handshakes", _log),
    ("less the choice of a chain", _chains),
    ("less the server name before the handshake", _server_name),
    ("less the time limit of handshakes", _time_limit),
    ("less tickets' keys and TLS settings", _settings_of_tls),
)
"""In the order in which they are taken off."""


@dataclass(frozen=True)
class Layer:
    """A listener of its own."""

    port: int
    resources: Sequence[Resource]

    @classmethod
    def at(cls, number: int) -> "Layer":
        """The edge's listener, less `number` layers."""
        address = SocketAddress("127.0.0.1", free_port())
        frame = EdgeFrame(_DOMAIN, address, None, "127.0.0.1", (), "api.sock", "x-mark", fingerprints=True)
        shared = frame_resources(frame)
        made = https_listener(frame, SniTable().with_endpoint(_ENDPOINT, frame))
        (chain,) = (one for one in made.body["filter_chains"] if one["name"] == names.EDGE_CHAIN)
        listener = copy.deepcopy({**made.body, "name": f"layer{number}"})
        for _, strip in LAYERS[: number + 1]:
            strip(listener, dict(chain))
        own = dataclasses.replace(made, name=f"layer{number}", body=listener)
        return cls(address.port, [*shared, *endpoint_resources(_ENDPOINT, frame), own])

    def shake_hands(self, count: int, trust: ssl.SSLContext) -> None:
        """Some connections, one after the other."""
        for _ in range(count):
            with (
                socket.create_connection(("127.0.0.1", self.port)) as connection,
                trust.wrap_socket(connection, server_hostname=_HOST) as tls,
                suppress(OSError),
            ):
                tls.unwrap()


def _cost(counted: Counted, layer: Layer, count: int, trust: ssl.SSLContext) -> float:
    found = []
    for _ in range(RUNS):
        counted.instructions()
        layer.shake_hands(count, trust)
        found.append(counted.instructions() / count)
    return min(found)


async def measure(count: int) -> None:
    """One line a layer."""
    authority = Authority()
    trust = ssl.create_default_context(cadata=authority.pem)
    certificate = secret_resource(names.EDGE_CERTIFICATE, authority.issue(_DOMAIN, f"*.{_DOMAIN}"))
    secrets = [certificate, ticket_keys_resource([os.urandom(80)])]
    with tempfile.TemporaryDirectory(prefix="ph") as folder:
        counted = Counted(Path(folder))
        await counted.rig.ads.start()
        await counted.rig.envoy.start(timeout=300)
        layers = [Layer.at(number) for number in range(len(LAYERS))]
        for layer in layers:
            await counted.rig.ads.publish([*secrets, *layer.resources], timeout=120)
            await asyncio.to_thread(layer.shake_hands, 10, trust)
        costs = [await asyncio.to_thread(_cost, counted, layer, count, trust) for layer in layers]
        await counted.rig.stop()
    print_layers("instructions a handshake", [name for name, _ in LAYERS], costs)


if __name__ == "__main__":
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing")
    logging.disable(logging.WARNING)
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else HANDSHAKES))
