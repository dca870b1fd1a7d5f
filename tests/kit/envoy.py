"""A real Envoy fed by an AdsServer, small resources written by hand, and upstreams to answer for them."""

import asyncio
import functools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portico.envoy.ads import AdsServer
from portico.envoy.binary import envoy_binary
from portico.envoy.bootstrap import BootstrapSettings
from portico.envoy.delivery import SecretReleased, SecretWanted
from portico.envoy.descriptors import MessageTypes, load_message_types
from portico.envoy.process import EnvoyProcess, ProcessSettings
from portico.model.errors import PorticoError
from portico.translate.resource import CLUSTER, FILTER_CHAIN, LISTENER, SCOPE, SECRET, Resource

URL = "type.googleapis.com/"
ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}


def require_envoy() -> Path:
    """The binary, or a skip that says why there is none."""
    try:
        return envoy_binary()
    except PorticoError as error:
        pytest.skip(str(error))


@functools.cache
def message_types() -> MessageTypes:
    """The types of the Envoy in use, made once a test process and kept on disk between them."""
    return load_message_types(require_envoy(), Path(tempfile.gettempdir(), "portico-test-descriptors"))


class Rig:
    """One AdsServer and one Envoy in a directory of their own."""

    def __init__(
        self,
        run_dir: Path,
        *,
        on_secret_wanted: SecretWanted | None = None,
        on_secret_released: SecretReleased | None = None,
        parent_shutdown_seconds: int = 3,
        **bootstrap: Any,
    ) -> None:
        self.run_dir = run_dir
        self.types = message_types()
        self.on_secret_wanted = on_secret_wanted
        self.on_secret_released = on_secret_released
        self.exits: list[int] = []
        self.ads = self.new_ads()
        settings = BootstrapSettings("test", self.ads_socket, **bootstrap)
        self.envoy = EnvoyProcess(
            ProcessSettings(
                require_envoy(),
                run_dir,
                settings,
                concurrency=1,
                drain_seconds=2,
                parent_shutdown_seconds=parent_shutdown_seconds,
            ),
            on_exit=self.exits.append,
        )

    @property
    def ads_socket(self) -> Path:
        return self.run_dir / "xds.sock"

    @property
    def upstream(self) -> Path:
        return self.run_dir / "u.sock"

    def kill_envoy(self) -> None:
        assert self.envoy.pid is not None
        os.kill(self.envoy.pid, signal.SIGKILL)

    def new_ads(self) -> AdsServer:
        return AdsServer(
            self.ads_socket,
            self.types,
            on_secret_wanted=self.on_secret_wanted,
            on_secret_released=self.on_secret_released,
        )

    async def start(self) -> None:
        await self.ads.start()
        await self.envoy.start()

    async def stop(self) -> None:
        await self.envoy.stop()
        await self.ads.stop()


@asynccontextmanager
async def running_envoy(**settings: Any) -> AsyncIterator[Rig]:
    """A started rig. Its directory is short, because a Unix socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="pe", ignore_cleanup_errors=True) as folder:
        rig = Rig(Path(folder), **settings)
        try:
            await rig.start()
            yield rig
        finally:
            await rig.stop()


@asynccontextmanager
async def unix_upstream(path: Path, answer: bytes) -> AsyncIterator[None]:
    """An HTTP/1.1 service on a Unix socket that answers every request with `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield


async def http_get(port: int, host: str, *, connect: Callable[..., Awaitable[Any]] | None = None) -> tuple[int, bytes]:
    """Status and body of `GET /` on a new connection to a loopback port."""
    reader, writer = await (connect or asyncio.open_connection)("127.0.0.1", port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()


async def eventually(check: Callable[[], Awaitable[Any] | Any], timeout: float = 60.0) -> Any:
    """The first true result of `check`."""
    async with asyncio.timeout(timeout):
        while True:
            result = check()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(0.02)


def cluster(name: str, path: Path | str, **more: Any) -> Resource:
    hosts = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}}]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return Resource(CLUSTER, name, {"name": name, "type": "STATIC", "load_assignment": assignment, **more})


def scope(host: str, to_cluster: str, *, name: str | None = None, **route: Any) -> Resource:
    name = name or host
    body = {
        "name": name,
        "key": {"fragments": [{"string_key": host}]},
        "route_configuration": {
            "name": name,
            "validate_clusters": False,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to_cluster, **route}}],
                }
            ],
        },
    }
    return Resource(SCOPE, name, body)


def http_connection_manager() -> dict[str, Any]:
    """Scoped by the Host header alone."""
    prefix = "envoy.extensions.filters"
    extractor = {"name": ":authority", "element_separator": ":", "index": 0}
    return {
        "name": "http",
        "typed_config": {
            "@type": f"{URL}{prefix}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            # Envoy's own 5 s and 1 s are waited out whenever a test drains.
            "drain_timeout": "0.05s",
            "delayed_close_timeout": "0.05s",
            "scoped_routes": {
                "name": "scopes",
                "scope_key_builder": {"fragments": [{"header_value_extractor": extractor}]},
                "rds_config_source": ADS,
                "scoped_rds": {"scoped_rds_config_source": ADS},
            },
            "http_filters": [
                {"name": "router", "typed_config": {"@type": f"{URL}{prefix}.http.router.v3.Router"}},
            ],
        },
    }


def tcp_proxy(to_cluster: str) -> dict[str, Any]:
    config = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return {"name": "tcp", "typed_config": {"@type": URL + config, "stat_prefix": "tcp", "cluster": to_cluster}}


def tls_socket(**common: Any) -> dict[str, Any]:
    config = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": "tls",
        "typed_config": {
            "@type": URL + config,
            "common_tls_context": common,
            "disable_stateless_session_resumption": True,
            "disable_stateful_session_resumption": True,
        },
    }


def on_demand_certificate() -> dict[str, Any]:
    """`custom_tls_certificate_selector` that asks for the secret named by SNI."""
    prefix = "envoy.extensions.transport_sockets.tls"
    mapper = {"@type": f"{URL}{prefix}.cert_mappers.sni.v3.SNI", "default_value": "none"}
    return {
        "custom_tls_certificate_selector": {
            "name": "on-demand",
            "typed_config": {
                "@type": f"{URL}{prefix}.cert_selectors.on_demand_secret.v3.Config",
                "config_source": ADS,
                "certificate_mapper": {"name": "sni", "typed_config": mapper},
            },
        }
    }


def listener(port: int, *chains: dict[str, Any], name: str = "main", **more: Any) -> Resource:
    body = {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": list(chains),
        **more,
    }
    return Resource(LISTENER, name, body)


def http_listener(port: int) -> Resource:
    return listener(port, {"name": "http", "filters": [http_connection_manager()]})


def filter_chain(name: str, *filters: dict[str, Any], **more: Any) -> Resource:
    return Resource(FILTER_CHAIN, name, {"name": name, "filters": list(filters), **more})


def secret(name: str, certificate: str, key: str) -> Resource:
    pair = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
    return Resource(SECRET, name, {"name": name, "tls_certificate": pair})
