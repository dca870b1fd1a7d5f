"""Which tunnel core the tests run on: `make test-compiled` says that it wants the compiled one."""

import importlib
import os
from pathlib import Path

import pytest

MODULES = (
    *(f"tunnel.{name}" for name in ("flow", "frames", "heartbeat", "session", "stream", "transport")),
    *(f"relay.{name}" for name in ("unanswered", "visitors")),
)


@pytest.mark.parametrize("name", MODULES)
def test_the_core_is_the_one_that_was_asked_for(name: str) -> None:
    module = importlib.import_module(f"portico.{name}")
    assert module.__file__ is not None
    if os.environ.get("PORTICO_TEST_COMPILED"):
        assert Path(module.__file__).suffix in (".so", ".pyd")
    else:
        assert Path(module.__file__).suffix == ".py"
