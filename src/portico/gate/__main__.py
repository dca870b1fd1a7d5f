"""`python -m portico.gate`: the gate's process, as the supervisor starts it."""

import argparse
import ipaddress
import logging
import socket
import typing
from pathlib import Path

import uvicorn

from portico import event_loop, logs
from portico.gate.app import gate_app
from portico.gate.limits import Counters
from portico.gate.reach import Reach


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m portico.gate", description="Asks the world for policies.")
    parser.add_argument("--listen-fd", required=True, type=int, help="inherited listening Unix socket")
    parser.add_argument("--secrets", required=True, type=Path, help="file with the edge's secrets, written by control")
    parser.add_argument("--edge-ca", type=Path, help="PEM file of the edge's own authority")
    parser.add_argument("--internal", default="", help="Envoy's Unix socket for requests to internal endpoints")
    parser.add_argument("--byte-endpoints", type=Path, help="directory with the endpoints of tcp and tls")
    parser.add_argument("--counters", type=Path, help="file with the URL of the database where nodes count together")
    parser.add_argument("--allow", action="append", default=[], help="network that is not public and may be asked")
    parser.add_argument("--log-format", choices=typing.get_args(logs.LogFormat), default="term")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    options = parser.parse_args()
    logs.configure(level=logging.getLevelName(options.log_level.upper()), form=options.log_format, process="gate")
    # Both say a line for each request, of what they should keep to themselves.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    reach = Reach(tuple(ipaddress.ip_network(network) for network in options.allow))
    app = gate_app(
        reach,
        options.secrets,
        options.edge_ca,
        options.internal,
        options.byte_endpoints,
        counters=_counters(options.counters) if options.counters else None,
    )
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    with socket.socket(fileno=options.listen_fd) as listening:
        event_loop.run(uvicorn.Server(config).serve(sockets=[listening]))


def _counters(file: Path) -> Counters:
    # Imported here: where a node counts alone, its gate needs no database.
    from portico.store.counters import Counters as SharedCounters

    return SharedCounters(file.read_text().strip())


if __name__ == "__main__":
    main()
