"""The soak's own judgement: a wrong byte, a stranger's answer or a missing end must never pass for a success."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.soak.content import PIECE, Check, Content, WrongBytesError
from kit.soak.exchange import number_of, receipt
from kit.soak.framing import TruncatedError, http_body
from kit.soak.journal import Fault, Journal, Outcome
from kit.soak.plan import MANNERS, Manner, Wish, fault_order, wishes
from kit.soak.visitors import Answer

WISH = Wish(number=7, manner=Manner.PLAIN, up=5, down=200_000, stop=0, chunked=False)
WHOLE = number_of(WISH) + b"".join(
    Content(7, "down").at(begin, min(PIECE, WISH.down - begin)) for begin in range(0, WISH.down, PIECE)
)


def fed(*pieces: bytes, wish: Wish = WISH) -> Answer:
    answer = Answer(wish)
    for piece in pieces:
        answer.feed(piece)
    answer.ended()
    return answer


@given(st.lists(st.integers(0, len(WHOLE) + 16), max_size=5))
def test_a_whole_answer_passes_however_it_is_cut_into_pieces(cuts: list[int]) -> None:
    text = WHOLE + receipt(WISH.up)
    edges = [0, *sorted(cuts), len(text)]
    fed(*(text[begin:end] for begin, end in itertools.pairwise(edges)))


@given(st.integers(0, len(WHOLE) + 15))
def test_an_answer_that_ends_early_is_seen(end: int) -> None:
    with pytest.raises(TruncatedError):
        fed((WHOLE + receipt(WISH.up))[:end])


@given(st.integers(0, len(WHOLE) + 15), st.integers(1, 255))
def test_one_wrong_byte_is_seen(place: int, change: int) -> None:
    text = bytearray(WHOLE + receipt(WISH.up))
    text[place] ^= change
    with pytest.raises(WrongBytesError):
        fed(bytes(text))


def test_more_than_all_is_seen() -> None:
    with pytest.raises(WrongBytesError):
        fed(WHOLE + receipt(WISH.up) + b"x")


def test_pieces_that_changed_places_are_seen() -> None:
    check = Check(Content(1, "up"), 4 * PIECE)
    check.feed(Content(1, "up").at(0, PIECE))
    with pytest.raises(WrongBytesError):
        check.feed(Content(1, "up").at(2 * PIECE, PIECE))
    with pytest.raises(WrongBytesError):
        Check(Content(1, "up"), PIECE).feed(Content(1, "down").at(0, PIECE))


async def body_of(data: bytes, **fields: str) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return b"".join([part async for part in http_body(reader, named)])


async def test_bodies_of_http_are_read_and_their_ends_demanded() -> None:
    assert await body_of(b"abcde", content_length="3") == b"abc"
    assert await body_of(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n", transfer_encoding="chunked") == b"abcde"
    for short in (b"3\r\nabc\r\n", b"3\r\nabc\r\n0", b"3\r\nab", b"3\r\nabc\r\n0\r\n"):
        with pytest.raises(TruncatedError):
            await body_of(short, transfer_encoding="chunked")
    with pytest.raises(TruncatedError):
        await body_of(b"ab", content_length="3")


def outcome(endpoint: str, began: float, ended: float, error: str = "reset", *, never: bool = False) -> Outcome:
    return Outcome(WISH, endpoint, began, ended, error, never)


def test_only_a_fault_of_that_endpoint_and_time_explains_an_error() -> None:
    journal = Journal(faults=[Fault("cut", frozenset({"a"}), began=10.0, over=12.0)])
    journal.outcomes = [outcome("a", 9, 11), outcome("a", 11, 13), outcome("a", 9, 20), outcome("b", 1, 2, error="")]
    assert journal.violations() == []
    journal.outcomes = [outcome("a", 1, 9), outcome("a", 12.5, 13), outcome("b", 9, 11)]
    assert len(journal.violations()) == 3
    journal.outcomes = [outcome("a", 9, 11, "wrong bytes", never=True)]
    assert len(journal.violations()) == 1
    assert "cut" in journal.table()


def test_the_plan_is_the_seed_s_and_covers_everything() -> None:
    for protocol, manners in MANNERS.items():
        some = list(itertools.islice(wishes(3, protocol), 300))
        assert (
            some == list(itertools.islice(wishes(3, protocol), 300)) != list(itertools.islice(wishes(4, protocol), 300))
        )
        assert {wish.manner for wish in some} == set(manners)
        assert len({wish.number for wish in some}) == 300
        assert [Wish.decode(wish.encode()) for wish in some] == some
    names = tuple("abcdef")
    turns = list(itertools.islice(fault_order(names, 1), 60))
    flat = list(itertools.chain(*turns))
    assert all(set(flat[begin : begin + 6]) == set(names) for begin in range(0, 60, 6))
    assert max(map(len, turns)) == 2
