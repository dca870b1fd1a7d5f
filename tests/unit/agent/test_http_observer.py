import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.agent.http_observer import HttpObserver
from portico.agent.inspector import BODY_LIMIT, CapturedRequest, Inspector

GET = b"GET /path?q=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-One: 2\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n2\r\n!!\r\n0\r\n\r\n"
HEAD_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def observed(*exchange: tuple[str, bytes], close: bool = False) -> list[CapturedRequest]:
    """The requests seen, oldest first, when bytes pass as `exchange` says (`>` to the upstream)."""
    inspector = Inspector()
    observer = HttpObserver(inspector, "web", "192.0.2.1:5", clock=lambda: 1.0)
    for direction, data in exchange:
        (observer.from_visitor if direction == ">" else observer.from_upstream)(data)
    if close:
        observer.closed()
    return inspector.requests()[::-1]


def test_a_request_and_its_response() -> None:
    (captured,) = observed((">", GET), ("<", OK))
    assert (captured.method, captured.uri, captured.status, captured.duration) == ("GET", "/path?q=1", 200, 0.0)
    assert captured.request.headers == [("Host", "a"), ("X-One", "1"), ("X-One", "2")]
    assert captured.request.raw() == GET
    assert captured.response is not None
    assert captured.response.raw() == OK
    assert (captured.endpoint, captured.remote_address) == ("web", "192.0.2.1:5")


def test_bodies() -> None:
    (captured,) = observed((">", POST), ("<", CHUNKED))
    assert bytes(captured.request.body) == b"hello"
    assert captured.response is not None
    assert bytes(captured.response.body) == b"yes!!"


def test_keep_alive_with_head_and_interim_responses() -> None:
    requests = observed(
        (">", HEAD), ("<", HEAD_OK), (">", POST), ("<", CONTINUE), ("<", OK), (">", GET), ("<", CHUNKED)
    )
    assert [(entry.method, entry.status) for entry in requests] == [("HEAD", 200), ("POST", 200), ("GET", 200)]
    assert all(entry.duration is not None for entry in requests)


def test_a_response_that_ends_with_its_connection() -> None:
    (captured,) = observed((">", GET), ("<", b"HTTP/1.0 200 OK\r\n\r\nall of it"), close=True)
    assert captured.response is not None
    assert (bytes(captured.response.body), captured.duration) == (b"all of it", 0.0)


def test_no_response() -> None:
    (captured,) = observed((">", GET), close=True)
    assert (captured.status, captured.response, captured.duration) == (None, None, 0.0)


def test_an_upgrade_is_seen_and_what_follows_is_not_read() -> None:
    (captured,) = observed((">", UPGRADE), ("<", SWITCHED), (">", b"\x81\x05hello"), ("<", b"\x81\x05hello"))
    assert (captured.uri, captured.status) == ("/ws", 101)


def test_a_long_body_is_kept_in_part() -> None:
    size = BODY_LIMIT + 10
    (captured,) = observed(
        (">", b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size), (">", b"x" * size), ("<", OK)
    )
    assert captured.request.truncated
    assert (captured.request.size, len(captured.request.body)) == (size, BODY_LIMIT)


@pytest.mark.parametrize("piece", [1_000_003, 65_536, BODY_LIMIT + 7])
def test_the_end_of_a_body_that_goes_by_is_seen_and_what_follows_it(piece: int) -> None:
    body = bytes(3 * BODY_LIMIT + 5)
    length = str(len(body)).encode()
    post = b"POST /long HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: " + length + b"\r\n\r\n" + body + GET
    answer = b"HTTP/1.1 201 Created\r\ncontent-length: " + length + b"\r\n\r\n" + body + OK
    pieces = [
        (sign, way[at : at + piece]) for sign, way in ((">", post), ("<", answer)) for at in range(0, len(way), piece)
    ]
    first, second = observed(*pieces)
    assert first.response is not None
    assert (first.request.size, first.response.size) == (len(body), len(body))
    assert (len(first.request.body), len(first.response.body)) == (BODY_LIMIT, BODY_LIMIT)
    assert (first.status, second.method, second.uri, second.status) == (201, "GET", "/path?q=1", 200)
    assert second.duration is not None


def test_an_endless_head_ends_the_watching() -> None:
    assert observed((">", b"GET / HTTP/1.1\r\n"), (">", b"X-Long: " + b"x" * 200_000), (">", b"\r\n\r\n")) == []


@given(st.lists(st.tuples(st.sampled_from("<>"), st.binary(max_size=50)), max_size=20))
def test_garbage_does_no_harm(exchange: list[tuple[str, bytes]]) -> None:
    observed(*exchange, close=True)


@given(st.integers(1, 40), st.integers(1, 40))
def test_any_split_is_read_the_same(request_piece: int, response_piece: int) -> None:
    sent, answered = POST + GET, OK + CHUNKED
    pieces = [(">", sent[at : at + request_piece]) for at in range(0, len(sent), request_piece)]
    pieces += [("<", answered[at : at + response_piece]) for at in range(0, len(answered), response_piece)]
    requests = observed(*pieces)
    assert [(entry.method, entry.status, bytes(entry.request.body)) for entry in requests] == [
        ("POST", 200, b"hello"),
        ("GET", 200, b""),
    ]


def test_the_oldest_make_room() -> None:
    inspector = Inspector(limit=100_000)
    observer = HttpObserver(inspector, "web", "")
    body = b"POST /%d HTTP/1.1\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000
    for number in range(5):
        observer.from_visitor(body.replace(b"%d", b"%d" % number))
        observer.from_upstream(OK)
    assert [entry.uri for entry in inspector.requests()] == ["/4", "/3", "/2"]
    assert [entry.uri for entry in inspector.requests(limit=1)] == ["/4"]
    assert inspector.requests(endpoint="other") == []
    newest = inspector.requests()[0]
    assert inspector.get(newest.id) is newest
    inspector.clear()
    assert inspector.requests() == []


def test_one_request_larger_than_everything_is_not_kept() -> None:
    inspector = Inspector(limit=10_000)
    observer = HttpObserver(inspector, "web", "")
    observer.from_visitor(b"POST / HTTP/1.1\r\nContent-Length: 30000\r\n\r\n")
    observer.from_visitor(b"x" * 20_000)
    observer.from_visitor(b"x" * 10_000)
    assert inspector.requests() == []


def test_subscribers_hear_of_the_head_and_of_the_end() -> None:
    inspector = Inspector()
    heard: list[int | None] = []
    stop = inspector.subscribe(lambda captured: heard.append(captured.status))
    observer = HttpObserver(inspector, "web", "")
    observer.from_visitor(GET)
    observer.from_upstream(OK)
    assert heard == [None, 200]
    stop()
    observer.from_visitor(GET)
    assert heard == [None, 200]


def test_a_subscriber_that_fails_stops_nothing() -> None:
    inspector = Inspector()

    def fail(_: CapturedRequest) -> None:
        raise RuntimeError("screen gone")

    inspector.subscribe(fail)
    observer = HttpObserver(inspector, "web", "")
    observer.from_visitor(GET)
    observer.from_upstream(OK)
    assert inspector.requests()[0].status == 200
