"""The gate among the edge's children."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.child import Child
from portico.edge.gate import COUNTERS_FILE, SECRETS_FILE, counters_flags, listen, run_when_asked
from portico.edge.gate_secrets import write_gate_secrets
from portico.edge.settings_values import parse_networks
from portico.gate.seal import EdgeSecrets
from portico.store.first_start import first_start
from portico.store.store import Store


@pytest.mark.parametrize(
    ("written", "networks"),
    [
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("10.0.0.0/8, ::1/128", ("10.0.0.0/8", "::1/128")),
        (["127.0.0.1"], ("127.0.0.1/32",)),
        ([], ()),
    ],
)
def test_networks(written: object, networks: tuple[str, ...]) -> None:
    assert parse_networks(written) == networks


@pytest.mark.parametrize("written", ["", "10.0.0.1/8", "example.com", ["10.0.0.0/8", 7], 7, None, {"a": "b"}])
def test_what_is_no_network(written: object) -> None:
    with pytest.raises(ValueError, match="network"):
        parse_networks(written)


@given(st.text() | st.lists(st.text() | st.integers()) | st.integers())
def test_any_networks(written: Any) -> None:
    try:
        assert isinstance(parse_networks(written), tuple)
    except ValueError:
        return


def test_control_tells_the_gate_its_secrets(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    first_start(store, tmp_path)
    write_gate_secrets(store, tmp_path)
    file = tmp_path / SECRETS_FILE
    known = EdgeSecrets(file).known()
    assert [len(secret) for secret in known] == [32]
    assert os.stat(file).st_mode & 0o777 == 0o600
    write_gate_secrets(store, tmp_path)
    assert EdgeSecrets(file).known() == known
    store.close()


async def test_starts_with_the_first_question(tmp_path: Path) -> None:
    started = asyncio.Event()
    child = Child("gate", "http.server", ("0", "--bind", "127.0.0.1"), os.environ, started.set)
    with listen(str(tmp_path / "gate.sock")) as listening:
        running = asyncio.create_task(run_when_asked(child, listening))
        await asyncio.sleep(0.05)
        assert not started.is_set()
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(tmp_path / "gate.sock"))
            await started.wait()
        await child.stop(5)
        await running


async def test_ends_where_nobody_has_asked(tmp_path: Path) -> None:
    child = Child("gate", "http.server", (), os.environ, lambda: None)
    with listen(str(tmp_path / "gate.sock")) as listening:
        running = asyncio.create_task(run_when_asked(child, listening))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert child.pid is None


def test_where_nodes_count_together_is_told_in_a_file_and_in_no_argument(tmp_path: Path) -> None:
    assert counters_flags(None, tmp_path) == ()
    assert not list(tmp_path.iterdir())
    flags = counters_flags("postgresql://portico:secret@db/portico", tmp_path)
    assert flags == ("--counters", str(tmp_path / COUNTERS_FILE))
    file = tmp_path / COUNTERS_FILE
    assert file.read_text().strip() == "postgresql://portico:secret@db/portico"
    assert os.stat(file).st_mode & 0o777 == 0o600
