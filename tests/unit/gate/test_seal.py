"""What is sealed, and cookies that carry it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.gate.cookies import MOST_PARTS, PART, Jar, read
from portico.gate.seal import EdgeSecrets, Seal
from portico.model.errors import PorticoError

ONE, TWO = b"1" * 32, b"2" * 32


@given(st.binary(max_size=500))
def test_what_is_sealed_opens(data: bytes) -> None:
    assert Seal([ONE], ["a"]).open("x", Seal([ONE], ["a"]).seal("x", data)) == data


def test_opens_for_nothing_else() -> None:
    sealed = Seal([ONE], ["a", "b"]).seal("x", b"data")
    assert Seal([ONE], ["a", "b"]).open("y", sealed) is None
    assert Seal([TWO], ["a", "b"]).open("x", sealed) is None
    assert Seal([ONE], ["ab"]).open("x", sealed) is None
    assert Seal([ONE], ["a", "c"]).open("x", sealed) is None
    assert Seal([TWO, ONE], ["a", "b"]).open("x", sealed) == b"data"


@given(st.text())
def test_anything_may_come_back(text: str) -> None:
    assert Seal([ONE], ["a"]).open("x", text) is None


def test_secrets_are_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    known = EdgeSecrets(file)
    with pytest.raises(PorticoError):
        known.known()
    file.write_text(ONE.hex())
    assert known.known() == (ONE,)
    file.write_text(f"{TWO.hex()}\n{ONE.hex()}\n")
    assert known.known() == (TWO, ONE)


@given(st.text())
def test_any_cookie_header_is_read(header: str) -> None:
    assert isinstance(read(header), dict)


def test_reads_cookies() -> None:
    assert read("a=1; b=2;c=x=y; a=3; d") == {"a": "1", "b": "2", "c": "x=y"}


@given(st.text("abc", max_size=PART * MOST_PARTS))
def test_a_long_value_comes_back_whole(value: str) -> None:
    jar = Jar(secure=True)
    given = {}
    for line in jar.lines("s", value, 10, {}):
        name, _, rest = line.partition("=")
        given[name] = rest.partition(";")[0]
    assert jar.value(given, "s") == value


def test_a_value_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        Jar(secure=True).lines("s", "x" * (PART * MOST_PARTS + 1), 10, {})


def test_parts_of_a_longer_one_end() -> None:
    jar = Jar(secure=True)
    lines = jar.lines("s", "short", 10, {"__Host-s": "x", "__Host-s-1": "x", "__Host-s-2": "x"})
    assert [line.partition("=")[0] for line in lines] == ["__Host-s", "__Host-s-1", "__Host-s-2"]
    assert all("Max-Age=0" in line for line in lines[1:])
