import gc

from portico.agent.inspector import CapturedMessage, CapturedRequest


def test_what_is_kept_is_nothing_for_the_garbage_collector() -> None:
    request = CapturedMessage("GET /", fields=b"authorization\nsecret")
    captured = CapturedRequest("1", "web", "192.0.2.1:1", 0.0, 0.0, "GET", "/", request)
    assert not gc.is_tracked(captured)
    assert not gc.is_tracked(captured.request)
    assert "secret" not in repr(captured)
