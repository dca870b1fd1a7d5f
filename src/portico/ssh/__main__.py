"""`python -m portico.ssh`: the SSH door of an edge node, as the supervisor starts it."""

import argparse
import logging
import os
import socket
import sys
import typing
from pathlib import Path

import asyncssh

from portico import event_loop, logs
from portico.model.errors import PorticoError
from portico.relay.__main__ import MARK_VARIABLE
from portico.ssh.host_key import load_or_create
from portico.ssh.ssh_relay import SshRelay

log = logging.getLogger(__name__)
EX_CONFIG = 78
"""sysexits.h: starting again would end the same way."""


def main() -> int:
    """Run until Drain or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m portico.ssh", description="Turns `ssh -R` into addresses.")
    parser.add_argument("--name", required=True, help="name of this relay on its node, e.g. ssh0")
    parser.add_argument("--run-dir", required=True, type=Path, help="directory of the node's sockets")
    parser.add_argument("--listen-fd", required=True, type=int, help="inherited listening TCP socket")
    parser.add_argument("--host-key", required=True, type=Path, help="file of the host key; made where it is missing")
    parser.add_argument("--log-format", choices=typing.get_args(logs.LogFormat), default="term")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    options = parser.parse_args()
    level = logging.getLevelName(options.log_level.upper())
    logs.configure(level=level, form=options.log_format, process=options.name)
    # Its records name user names and keys as they come from strangers, a dozen a connection.
    asyncssh.set_log_level(logging.WARNING)
    try:
        host_key = load_or_create(options.host_key)
    except PorticoError as error:
        log.error(error.message, extra={"code": str(error.code), "fix": error.fix})
        return EX_CONFIG
    relay = SshRelay(
        options.name,
        options.run_dir,
        mark=os.environ.get(MARK_VARIABLE, ""),
        listening=socket.socket(fileno=options.listen_fd),
        host_key=host_key,
    )
    event_loop.run(relay.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
