"""Ours: a whole edge as it ships, whose settings name the upstreams."""

import contextlib
from collections.abc import Iterator

import yaml

from benchmarks.comparison import Named
from benchmarks.gateways.gateway import DOMAIN, WORKERS, Gateway, Running, Setting, until_ok, upstream_ports
from kit.edge import running_edge


class Portico(Gateway):
    named = Named(
        "Portico",
        "ours",
        f"A whole edge (Envoy with {WORKERS} workers, control, relays) whose settings name the upstreams; certificates "
        "of its own authority.",
    )

    @contextlib.contextmanager
    def serve(self, setting: Setting) -> Iterator[Running]:
        hosts = upstream_ports(setting)
        endpoints = [
            {"url": f"https://{host}", "upstreams": [f"http://127.0.0.1:{port}"]} for host, port in hosts.items()
        ]
        config = setting.directory / "edge.yml"
        config.write_text(yaml.safe_dump({"endpoints": endpoints}))
        flags = ("--domain", DOMAIN, "--envoy-concurrency", str(WORKERS), "--log-level", "warning")
        with running_edge(setting.directory, *flags, "--config", str(config)) as edge:
            made = Running(self.named.name, edge.process.pid, edge.ca, dict.fromkeys(hosts, edge.https_port))
            until_ok(made)
            yield made
