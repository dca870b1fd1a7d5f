import asyncio
import socket
from pathlib import Path

import pytest

from portico.edge import name_lookup
from portico.edge.name_lookup import NameLookup

Found = dict[str, list[tuple[int, str]]]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    """What the resolver answers, by name."""
    answers: Found = {}

    def resolve(name: str, _port: None, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if name not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in answers[name]]

    monkeypatch.setattr(name_lookup.socket, "getaddrinfo", resolve)
    return answers


async def test_changes_are_told_and_failures_change_nothing(
    found: Found, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    changed: list[str] = []
    lookup = NameLookup(["10.0.0.1", "a", "b"], changed.append, tmp_path / "names")
    assert (lookup.addresses("10.0.0.1"), lookup.addresses("a")) == (("10.0.0.1",), ())
    found["a"] = [(socket.AF_INET, "10.0.0.3"), (socket.AF_INET, "10.0.0.2"), (socket.AF_INET6, "::1")]
    for _ in range(2):
        await lookup.look_up()
    assert (changed, lookup.addresses("a"), lookup.addresses("b")) == (["a"], ("10.0.0.2", "10.0.0.3"), ())
    assert caplog.text.count("is not found") == 1
    del found["a"]
    found["b"] = [(socket.AF_INET6, "fe80::1%eth0")]
    await lookup.look_up()
    assert (changed, lookup.addresses("a"), lookup.addresses("b")) == (
        ["a", "b"],
        ("10.0.0.2", "10.0.0.3"),
        ("fe80::1",),
    )
    found["a"] = [(socket.AF_INET, "10.0.0.4")]
    await lookup.look_up()
    assert (changed, lookup.addresses("a")) == (["a", "b", "a"], ("10.0.0.4",))


async def test_what_was_found_outlives_the_process(found: Found, tmp_path: Path) -> None:
    found["a"] = [(socket.AF_INET, "10.0.0.2")]
    await NameLookup(["a"], lambda _: None, tmp_path / "names").look_up()
    del found["a"]
    changed: list[str] = []
    again = NameLookup(["a", "b"], changed.append, tmp_path / "names")
    await again.look_up()
    assert (again.addresses("a"), again.addresses("b"), changed) == (("10.0.0.2",), (), [])


async def test_others_are_followed(found: Found, tmp_path: Path) -> None:
    changed: list[str] = []
    lookup = NameLookup([], changed.append, tmp_path / "names")
    running = asyncio.create_task(lookup.run())
    found["a"] = [(socket.AF_INET, "10.0.0.2")]
    await asyncio.sleep(0)
    assert not running.done()
    lookup.follow(["a", "10.0.0.1"])
    async with asyncio.timeout(30):
        while not changed:
            await asyncio.sleep(0.01)
    assert (lookup.addresses("a"), lookup.addresses("10.0.0.1")) == (("10.0.0.2",), ("10.0.0.1",))
    lookup.follow(["a", "b"])
    assert (lookup.addresses("a"), lookup.addresses("b")) == (("10.0.0.2",), ())
    running.cancel()
