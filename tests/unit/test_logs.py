"""Log lines: the same facts for people and for programs, and no secret of a traceback."""

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico import logs

log = logging.getLogger("portico.test")
FACTS = {
    "url": "https://a b",
    "n": 3,
    "on": True,
    "none": None,
    "text": 'a"b\\c\nd=e',
    "list": [1, "x"],
    "p": Path("/x"),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level
    root.manager._clear_cache()  # type: ignore[attr-defined]


def written(form: logs.LogFormat, stream: io.StringIO | None = None) -> str:
    """Two records and an exception."""
    stream = stream or io.StringIO()
    logs.configure(stream, form=form, process="r0")
    log.info("hello %s", "world", extra=FACTS)
    log.debug("too little to tell")
    try:
        _fails("".join(("ge", "heim")))
    except ZeroDivisionError:
        log.exception("failed")
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "NOW", stream.getvalue())


def _fails(secret: str) -> float:
    return len(secret) / 0


def test_json() -> None:
    first, second = (json.loads(line) for line in written("json").splitlines())
    plain = {**FACTS, "p": repr(FACTS["p"])}
    assert first == {"process": "r0", "event": "hello world", "level": "info", **plain, "t": "NOW"}
    assert second["exception"].startswith("Traceback")
    assert (second["event"], second["level"]) == ("failed", "error")


def test_logfmt() -> None:
    first, second = written("logfmt").splitlines()
    assert first == (
        't=NOW level=info event="hello world" process=r0 url="https://a b" n=3 on=true none= '
        'text="a\\"b\\\\c\\nd=e" list="[1, \'x\']" p=/x'
    )
    assert second.startswith(
        't=NOW level=error event=failed process=r0 exception="Traceback (most recent call last):\\n'
    )


def test_lines_for_people() -> None:
    first, second, *traceback = written("term").splitlines()
    assert first == (
        "NOW [info     ] hello world                    list=[1, 'x'] n=3 none=None on=True p=PosixPath('/x') "
        "process=r0 text='a\"b\\\\c\\nd=e' url='https://a b'"
    )
    assert second == "NOW [error    ] failed                         process=r0"
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ZeroDivisionError: division by zero"


def test_colours_on_a_terminal_alone() -> None:
    assert "\x1b" not in written("term")
    coloured = written("term", Terminal())
    assert "\x1b[31m\x1b[1merror" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == written("term")
    assert "\x1b" not in written("json", Terminal()) + written("logfmt", Terminal())


@pytest.mark.parametrize("form", ["term", "logfmt", "json"])
def test_a_traceback_shows_no_values(form: logs.LogFormat) -> None:
    assert "geheim" not in written(form)


def test_libraries_say_what_is_wrong_alone() -> None:
    stream = io.StringIO()
    logs.configure(stream, level=logging.DEBUG, form="json")
    logging.getLogger("asyncio").info("news")
    logging.getLogger("asyncio").warning("trouble")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["trouble"]


@given(st.text(), st.dictionaries(st.from_regex("[a-z]{3,6}x", fullmatch=True), st.text() | st.integers() | st.none()))
def test_any_value_stays_on_its_line(text: str, facts: dict[str, object]) -> None:
    for form in ("logfmt", "json"):
        stream = io.StringIO()
        logs.configure(stream, form=form)  # type: ignore[arg-type]
        log.info("%s", text, extra=facts)
        assert stream.getvalue().count("\n") == 1
        if form == "json":
            assert {"event": text, **facts}.items() <= json.loads(stream.getvalue()).items()
