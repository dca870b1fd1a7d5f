"""The gate among the edge's children: what it is told, and when it starts."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Final

from portico.atomic_file import PRIVATE, write_atomically
from portico.edge.child import Child

SECRETS_FILE: Final = "gate.secrets"
"""In the run directory."""
COUNTERS_FILE: Final = "gate.counters"
"""In the run directory."""
BACKLOG: Final = 1024
_ASKING: Final = ("http-request", "jwt-validation", "oauth", "openid-connect")
"""Actions of requests that ask the gate."""


def counters_flags(database: str | None, run_dir: Path) -> tuple[str, ...]:
    """Tell the gate where nodes count together, in a file: the URL has a password, and `ps` shows arguments."""
    if database is None:
        return ()
    path = run_dir / COUNTERS_FILE
    write_atomically(path, database + "\n", mode=PRIVATE)
    return ("--counters", str(path))


def listen(path: str) -> socket.socket:
    """The gate's socket, which outlives it: who asks meanwhile waits in its backlog."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(BACKLOG)
    return listening


def asks_in_requests(policy: str, *, counts_together: bool) -> bool:
    """Whether a policy, as the JSON of `Endpoint.traffic_policy`, may ask the gate something about a request."""
    kinds = (*_ASKING, "rate-limit") if counts_together else _ASKING
    return any(f'"type":"{kind}"' in policy for kind in kinds)


def wake(path: str) -> None:
    """Have the gate start, as its first question would, which comes soon: a visitor would have to wait for it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # a full backlog has questions enough
        asking.connect(path)


async def run_when_asked(child: Child, listening: socket.socket) -> None:
    """Keep the gate running from the first question, or `wake`, on: an edge whose policies ask nothing has none."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_reader(listening, asked.set)
    try:
        await asked.wait()
    finally:
        loop.remove_reader(listening)
    await child.run()
