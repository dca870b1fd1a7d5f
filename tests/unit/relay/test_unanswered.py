"""Where a request ends, so that no byte of a body is ever taken for one, and which may be sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.relay.unanswered import KEEP_BYTES, UNKNOWN, Unanswered, body_rest


def request(method: str = "GET", *fields: str) -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "host: a.test", *fields, "", ""]).encode()


def begun(data: bytes) -> Unanswered:
    unanswered = Unanswered()
    unanswered.begin(data, http1=True)
    return unanswered


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (request(), 0),
        (request("POST", "content-length: 0"), 0),
        (request("POST", "Content-Length:5 "), 5),
        (request("POST", "content-length: 5") + b"12345", 0),
        (request("POST", "content-length: 5") + b"12", 3),
        (request("POST", "content-length: 5") + b"123456", UNKNOWN),
        (request("GET", "x-content-length: 5"), 0),
        (request() + request(), UNKNOWN),
        (request("POST", "content-length: 5", "content-length: 5"), UNKNOWN),
        (request("POST", "content-length: -5"), UNKNOWN),
        (request("POST", "content-length: " + "9" * 5000), UNKNOWN),
        (request("POST", "transfer-encoding: chunked"), UNKNOWN),
        (request("POST", "TRANSFER-ENCODING: 0"), UNKNOWN),
        (request("GET", "upgrade: 0"), UNKNOWN),
        (request("CONNECT"), UNKNOWN),
        (request()[:-1], UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_the_rest_of_a_body(data: bytes, rest: int) -> None:
    assert body_rest(data) == rest


@given(st.integers(0, 300), st.lists(st.binary(min_size=1, max_size=80), max_size=6))
def test_a_request_has_ended_only_when_all_of_its_body_came(length: int, pieces: list[bytes]) -> None:
    unanswered = begun(request("POST", f"content-length: {length}"))
    for piece in pieces:
        unanswered.add(piece)
    left = length - sum(map(len, pieces))
    assert unanswered.rest == (left if left >= 0 else UNKNOWN)


@given(st.binary(max_size=300))
def test_what_is_no_request_never_ends(data: bytes) -> None:
    assert body_rest(data) == UNKNOWN or b"\r\n\r\n" in data


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_requests_without_an_effect_may_arrive_twice(method: str) -> None:
    unanswered = begun(request(method, "content-length: 3"))
    unanswered.add(b"abc")
    assert unanswered.repeatable
    assert unanswered.kept == request(method, "content-length: 3") + b"abc"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE", "CONNECT", "get", "GETS"])
def test_others_may_not(method: str) -> None:
    assert not begun(request(method)).repeatable


def test_neither_may_what_is_too_large_followed_or_answered() -> None:
    assert not begun(request("GET", f"content-length: {KEEP_BYTES}") + bytes(KEEP_BYTES)).repeatable
    followed = begun(request())
    followed.add(request("POST"))
    assert not followed.repeatable
    answered = begun(request())
    answered.answered()
    assert not answered.repeatable
    assert (answered.kept, answered.head, answered.rest) == (b"", b"", 0)


def test_what_is_kept_is_bounded() -> None:
    unanswered = begun(request("GET", "content-length: 999999"))
    unanswered.add(bytes(KEEP_BYTES))
    assert not unanswered.is_whole
    assert unanswered.kept == b""
    assert unanswered.rest == 999_999 - KEEP_BYTES
