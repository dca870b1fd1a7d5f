"""The wire of the wide-area link keeps its promises: delay, rate, queue, loss, order."""

import itertools

import pytest
from benchmarks.wire import Path, Wire
from hypothesis import given
from hypothesis import strategies as st

SLOW = Path(delay=0.02, rate=1000.0, queue=500, loss=0.0)


def arrivals(wire: Wire) -> list[tuple[float, bytes]]:
    found = []
    while (due := wire.next_due) is not None:
        found += [(due, packet) for packet in wire.leave(due)]
    return found


def test_a_packet_takes_its_time_on_the_wire_and_the_delay() -> None:
    wire = Wire(SLOW, 1)
    wire.enter(bytes(100), 5.0)
    assert wire.leave(5.1) == []
    assert arrivals(wire) == [(pytest.approx(5.12), bytes(100))]


def test_what_the_queue_cannot_hold_is_dropped_at_its_tail() -> None:
    wire = Wire(SLOW, 1)
    for number in range(10):
        wire.enter(bytes([number]) * 100, 0.0)
    assert [packet[0] for _, packet in arrivals(wire)] == [0, 1, 2, 3, 4, 5]
    assert (wire.carried, wire.overflowed, wire.lost) == (6, 4, 0)
    wire.enter(b"later", 1.0)
    assert arrivals(wire)[0][1] == b"later"


def test_losses_are_near_their_probability_and_the_seed_s() -> None:
    def carried(seed: int) -> list[int]:
        wire = Wire(Path(delay=0.0, rate=1e9, queue=1 << 30, loss=0.01), seed)
        for number in range(20_000):
            wire.enter(number.to_bytes(2, "big"), 0.0)
        return [int.from_bytes(packet, "big") for _, packet in arrivals(wire)]

    assert 19_700 < len(carried(1)) < 19_900
    assert carried(1) == carried(1) != carried(2)


@given(st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 1500)), max_size=50))
def test_every_packet_arrives_once_in_order_and_no_faster_than_the_rate(entries: list[tuple[float, int]]) -> None:
    path = Path(delay=0.02, rate=10_000.0, queue=1 << 30, loss=0.0)
    wire, now = Wire(path, 1), 0.0
    for number, (pause, size) in enumerate(entries):
        now += pause
        wire.enter(bytes([number]) * size, now)
    found = arrivals(wire)
    assert [packet[0] for _, packet in found] == list(range(len(entries)))
    for (before, _), (after, packet) in itertools.pairwise(found):
        assert after - before >= len(packet) / path.rate - 1e-9
