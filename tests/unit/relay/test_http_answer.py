"""The relay's own pages: the form that the visitor accepts, and the mark by which Envoy names the error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.errors import STREAM_LIMIT, UPSTREAM_UNREACHABLE
from portico.relay import http_answer


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"Accept: text/html,*/*", b"text/html"),
        (b"accept:application/json", b"application/json"),
        (b"x: y", b"text/plain"),
    ],
)
def test_the_page_has_the_form_that_is_accepted(accept: bytes, content_type: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nhost: a\r\n" + accept + b"\r\n\r\n"
    page = http_answer.error_page(STREAM_LIMIT, "", head, "x-mark")
    assert page.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"content-type: " + content_type in page
    assert b"\r\nx-mark: 20023\r\n" in page


@given(st.binary(max_size=400), st.text(max_size=100))
def test_any_request_and_any_reason_give_one_whole_answer(head: bytes, reason: str) -> None:
    page = http_answer.error_page(UPSTREAM_UNREACHABLE, reason, head, "x-mark")
    start, _, body = page.partition(b"\r\n\r\n")
    lines = start.split(b"\r\n")
    length = next(line for line in lines if line.startswith(b"content-length:"))
    assert len(body) == (0 if head.startswith(b"HEAD ") else int(length.split(b":")[1]))
    assert {line.split(b":")[0] for line in lines[1:]} == {
        b"content-type", b"content-length", b"cache-control", b"connection", b"x-mark", b"x-mark-ngrok",
    }  # fmt: skip


@given(st.binary(max_size=200))
def test_misdirected_requests_are_told_so(head: bytes) -> None:
    page = http_answer.misdirected(head)
    assert page.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert b"\r\nportico-error-code: PORTICO_20029\r\n" in page


def test_a_browser_that_is_misdirected_gets_a_page() -> None:
    page = http_answer.misdirected(b"GET / HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n")
    assert b"\r\ncontent-type: text/html; charset=utf-8\r\n" in page


@pytest.mark.parametrize(
    ("answer", "framed"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nx-content-length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\n\r\nok", False),
        (b"", False),
    ],
)
def test_answers_that_end_by_themselves(answer: bytes, framed: bool) -> None:
    assert http_answer.is_framed(answer) == framed
