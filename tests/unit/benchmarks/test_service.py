"""The service of bulk loads: the same one on each of its addresses, and what it was sent."""

from http.client import HTTPConnection

from benchmarks.service import own_service


def asked(address: str, port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    connection = HTTPConnection(address, port, timeout=30)
    try:
        connection.request(method, path, body)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_it_counts_what_it_was_sent_at_any_of_its_addresses() -> None:
    with own_service(addresses=("127.0.0.1", "127.0.0.2")) as service:
        before = int(asked("127.0.0.1", service.port, "GET", "/received"))
        assert asked("127.0.0.2", service.port, "PUT", "/", bytes(100_000)).startswith(b"Hello")
        after = int(asked("127.0.0.1", service.port, "GET", "/received"))
    assert 100_000 < after - before < 101_000
