"""The examples of `docs/ngrok-sdks.md`: the files of `examples/ngrok-sdks`, run as they stand."""

import contextlib
import subprocess
from collections.abc import Iterator

from kit.curl import Answer, curl
from kit.edge import RunningEdge


def ask_example(edge: RunningEdge, upstream_port: int, *command: str) -> Answer:
    """What a visitor of the example's endpoint gets."""
    with _running(edge, upstream_port, command) as url:
        return curl(url, edge.ca)


@contextlib.contextmanager
def _running(edge: RunningEdge, upstream_port: int, command: tuple[str, ...]) -> Iterator[str]:
    environment = {**edge.agent_environment, "UPSTREAM": f"localhost:{upstream_port}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
