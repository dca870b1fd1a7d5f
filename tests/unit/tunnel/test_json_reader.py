import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.tunnel.frames import ProtocolError
from portico.tunnel.json_reader import MAX_DEPTH, JsonReader, parse_object

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('{}[]"\\'), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(texts, values, max_size=4)


@given(objects, st.booleans(), st.lists(st.integers(0, 1000)), st.binary(max_size=8))
def test_an_object_is_found_in_any_split(value: dict, ascii_only: bool, places: list[int], rest: bytes) -> None:
    data = b" \n" + json.dumps(value, ensure_ascii=ascii_only).encode() + rest
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    reader, found, seen = JsonReader(), None, 0
    for start, end in itertools.pairwise(edges):
        found, seen = reader.feed(data[start:end]), end
        if found is not None:
            break
    assert found == value
    assert reader.rest + data[seen:] == rest


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"{", b"}", b'"', b"\\", b"[", b':1,"a"']), max_size=20))
def test_garbage_is_a_protocol_error(chunks: list[bytes]) -> None:
    reader = JsonReader(limit=200)
    try:
        for chunk in chunks:
            if reader.feed(chunk) is not None:
                break
            assert len(reader._buffer) <= 200
    except ProtocolError:
        pass


@pytest.mark.parametrize("text", [b"[1]", b"1", b"null", b'{"a":}', b'{"a":"\\ud800"}', b'{"a":1e999}', b'{"\xff":1}'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        JsonReader().feed(text)
    with pytest.raises(ProtocolError):
        parse_object(text)


def test_size_and_depth_have_limits() -> None:
    reader = JsonReader(limit=100)
    for _ in range(10):
        assert reader.feed(b'{"aaaaaaa"') is None
    with pytest.raises(ProtocolError, match="larger"):
        reader.feed(b"{")
    with pytest.raises(ProtocolError, match="deep"):
        JsonReader().feed(b'{"a":' * (MAX_DEPTH + 1))
    with pytest.raises(ProtocolError):
        parse_object(b'{"a":' + b"[" * 100_000)


def test_the_error_does_not_tell_the_text() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_object(b'{"AuthToken": "secret" "x"}')
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
