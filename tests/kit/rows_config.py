"""Configuration files of the agent as the documents print them, with one's own paths and ports put in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kit.cli import RunningAgent, running_agent
from kit.edge import RunningEdge


@contextlib.contextmanager
def started(edge: RunningEdge, directory: Path, text: str) -> Iterator[RunningAgent]:
    """`portico start example` with a file that says `text`."""
    file = directory / "portico.yml"
    file.write_text(text)
    with running_agent(edge, "start", "example", "--config", str(file)) as agent:
        yield agent


def refused(agent: RunningAgent, status: int = 1) -> str:
    """What an agent said that would not, or could not, start: on standard error, and in its log."""
    assert agent.process.stdout is not None
    log = agent.process.stdout.read()
    said = agent.stderr()
    assert agent.process.wait() == status, said + log
    return said + log
