"""`python -m portico.relay`: one relay process, as the supervisor starts it."""

import argparse
import logging
import os
import typing
from pathlib import Path

from portico import event_loop, logs
from portico.relay.relay import Relay

MARK_VARIABLE = "PORTICO_MARK_HEADER"
"""Environment variable with the secret header name; an argument would show it to every user of the machine."""


def main() -> None:
    """Run until Drain or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m portico.relay", description="Turns agent sessions into addresses.")
    parser.add_argument("--name", required=True, help="name of this relay on its node, e.g. r0")
    parser.add_argument("--run-dir", required=True, type=Path, help="directory of the node's sockets")
    parser.add_argument("--agents-fd", type=int, help="inherited listening socket for agents, instead of an own one")
    parser.add_argument("--log-format", choices=typing.get_args(logs.LogFormat), default="term")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    options = parser.parse_args()
    level = logging.getLevelName(options.log_level.upper())
    logs.configure(level=level, form=options.log_format, process=options.name)
    relay = Relay(options.name, options.run_dir, mark=os.environ.get(MARK_VARIABLE, ""), agents_fd=options.agents_fd)
    event_loop.run(relay.run())


if __name__ == "__main__":
    main()
