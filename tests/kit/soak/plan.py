"""What visitors want and which faults come, from a seed."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

MIB = 1 << 20


class Manner(StrEnum):
    """How a transfer goes; both directions run at once in each."""

    PLAIN = "plain"
    SLOW_READER = "slow reader"
    STALLED_READER = "stalled reader"
    STALLED_SERVICE = "stalled service"
    VISITOR_RESETS = "visitor resets"
    SERVICE_CUTS = "service cuts"
    VISITOR_HALF_CLOSES = "visitor half-closes"
    SERVICE_HALF_CLOSES = "service half-closes"
    WEBSOCKET = "websocket"
    HTTP2 = "http/2"


_ANY = (
    Manner.PLAIN,
    Manner.PLAIN,
    Manner.PLAIN,
    Manner.SLOW_READER,
    Manner.STALLED_READER,
    Manner.STALLED_SERVICE,
    Manner.VISITOR_RESETS,
    Manner.SERVICE_CUTS,
)
MANNERS = {
    "http": (*_ANY, Manner.WEBSOCKET, Manner.HTTP2),
    "tcp": (*_ANY, Manner.VISITOR_HALF_CLOSES, Manner.SERVICE_HALF_CLOSES),
    "tls": _ANY,
}
"""By the endpoint's protocol. TLS has no half-close that programs agree on."""


@dataclass(frozen=True)
class Wish:
    """One transfer, as the visitor tells it to the service."""

    number: int
    """Of its own; the content of both directions follows from it."""
    manner: Manner
    up: int
    down: int
    """Bytes."""
    stop: int
    """Where a reset, cut or stall comes, in bytes of `down` (`up` where the service stalls)."""
    chunked: bool

    def encode(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**{**fields, "manner": Manner(fields["manner"])})


def wishes(seed: int, protocol: str) -> Iterator[Wish]:
    """Without an end; numbers do not repeat for seeds below 2^20."""
    chance = random.Random(seed)
    for count in range(1 << 40):
        yield _wish(chance, chance.choice(MANNERS[protocol]), (count << 20) | seed)


def _wish(chance: random.Random, manner: Manner, number: int) -> Wish:
    up, down = _size(chance), _size(chance)
    if manner is Manner.SLOW_READER:
        down = min(down, MIB // 2)
    elif manner is Manner.STALLED_READER:
        down += 2 * MIB  # more than all windows and buffers on the way take
    elif manner is Manner.STALLED_SERVICE:
        up += 2 * MIB
    elif manner in (Manner.VISITOR_RESETS, Manner.SERVICE_CUTS):
        down += 1000
    elif manner is Manner.WEBSOCKET:
        up, down = min(up, MIB), 0
    stop = chance.randrange(up + 1 if manner is Manner.STALLED_SERVICE else down + 1)
    return Wish(number, manner, up, down, stop, chance.random() < 0.5)


def _size(chance: random.Random) -> int:
    """Most are small, some are many windows large, some are nothing."""
    return chance.choice((0, chance.randrange(1_000), chance.randrange(100_000), chance.randrange(MIB), 4 * MIB))


def fault_order(names: tuple[str, ...], seed: int) -> Iterator[tuple[str, ...]]:
    """Which faults come one after another, some in pairs: each name once a round."""
    chance = random.Random(seed)
    while True:
        bag = list(names)
        chance.shuffle(bag)
        while bag:
            pair = len(bag) > 1 and chance.random() < 0.15
            yield tuple(bag.pop() for _ in range(2 if pair else 1))
