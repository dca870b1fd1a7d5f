"""The framing of the link: any split of a valid stream gives the same messages, garbage gives LinkError alone."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.relay import link

MESSAGES: list[link.FromRelay] = [
    link.Hello(relay="r0", pid=7, sessions=[], binds=[]),
    link.Bind(id=1, session="s", address="/run/1.sock", labelled=False, body={"Id": "", "Opts": {"Domain": "ä.test"}}),
    link.SessionEnded(session="s", reason="reaped"),
    link.Figures(id=2, values={"sessions": 1.0}),
]


def reader() -> link.MessageReader[link.FromRelay]:
    return link.MessageReader(link.FromRelay)


@given(st.lists(st.sampled_from(MESSAGES)), st.data())
def test_any_split_gives_the_same_messages(messages: list[link.FromRelay], data: st.DataObject) -> None:
    raw = b"".join(map(link.pack, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    incoming = reader()
    received: list[link.FromRelay] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        received += incoming.feed(raw[start:end])
    assert received == messages


@given(st.binary(max_size=300))
def test_garbage_is_a_link_error_or_incomplete(raw: bytes) -> None:
    with contextlib.suppress(link.LinkError):
        reader().feed(raw)


def test_a_length_beyond_the_cap_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(link.LinkError, match="longer"):
        reader().feed(b"\xff\xff\xff\xff")


def test_an_error_never_repeats_a_value() -> None:
    body = b'{"type":"bind","id":1,"session":7,"address":"","labelled":false,"body":{"key":"SECRET"}}'
    with pytest.raises(link.LinkError) as caught:
        reader().feed(len(body).to_bytes(4, "big") + body)
    assert "SECRET" not in str(caught.value)
