"""Hashes in Lua, held against hashlib and against what expressions compute in explanations."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit.lua import lua
from portico.policy.functions import hashes

BLOCKS = [
    bytes(range(256)) * 2,
    b"",
    *(b"x" * size for size in (31, 32, 55, 56, 63, 64, 65, 111, 112, 119, 120, 127, 128)),
]


@given(st.binary(max_size=300))
def check_all(data: bytes) -> None:
    found = lua().library[b"hash"]
    for name, compute in hashes._KINDS.items():
        assert found[name.encode()](data) == compute(data), name
    assert found[b"sha384"](data) == hashlib.sha384(data).digest()


@pytest.mark.parametrize("data", BLOCKS, ids=len)
def test_digests_at_the_ends_of_blocks(data: bytes) -> None:
    check_all.hypothesis.inner_test(data)


def test_digests_of_anything() -> None:
    check_all()


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(["md5", "sha1", "sha256", "sha384", "sha512"]))
@example(b"k" * 129, b"", "sha512")
def test_hmac_is_that_of_rfc_2104(key: bytes, data: bytes, name: str) -> None:
    assert lua().library[b"hash"][b"hmac"](name.encode(), key, data) == hmac.new(key, data, name).digest()


@given(st.binary(max_size=8), st.binary(max_size=8))
@example(b"same", b"same")
def test_same_compares_whole_texts(one: bytes, other: bytes) -> None:
    same = lua().library[b"same"]
    assert same(one, other) == (one == other)
    assert same(one, one)
