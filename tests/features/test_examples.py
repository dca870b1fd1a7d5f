"""Every program in `examples/` runs as it stands against a real edge."""

import subprocess
import sys
from pathlib import Path

import pytest

from kit.edge import RunningEdge
from kit.service import http_service
from kit.visitor import Visitor

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("forward.py", "served /\n"),
        ("forward_async.py", "served /\n"),
        ("flask_app.py", "Hello from Flask\n"),
        ("fastapi_app.py", '{"hello":"from FastAPI"}'),
    ],
)
def test_an_example_prints_a_url_that_works(edge: RunningEdge, program: str, answer: str) -> None:
    with http_service() as port:
        running = subprocess.Popen(
            [sys.executable, EXAMPLES / program, str(port)],
            stdout=subprocess.PIPE,
            text=True,
            env=edge.agent_environment,
        )
        try:
            assert running.stdout is not None
            url = running.stdout.readline().split()[0]
            assert Visitor(edge.ca).get(url) == (200, answer)
        finally:
            running.terminate()
            running.wait(30)
            if running.stdout:
                running.stdout.close()


def test_every_example_is_tested() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == {"demo.py", "forward.py", "forward_async.py", "flask_app.py", "fastapi_app.py"}
