"""Lists of networks as Lua: ranges in order, so that a visitor's address is found by halving."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import pairwise

from portico.policy.functions.addresses import Network, network
from portico.translate.policy.lua import Code, literal


def networks_lua(cidrs: Sequence[str]) -> str:
    """An expression whose `:find(ip)` gives the first of `cidrs` that has the address, or nil.

    Raises ValueError for what is no network.
    """
    found = [(cidr, _network(cidr)) for cidr in cidrs]
    sides = {name: list(_ranges(found, version)) for name, version in (("four", 4), ("six", 6))}
    tables = {name: tuple(zip(*rows, strict=True)) or ((), (), ()) for name, rows in sides.items()}
    return f"P.networks({literal({name: Code(literal(table)) for name, table in tables.items()})})"


def _network(cidr: str) -> Network:
    if (found := network(cidr)) is None:
        raise ValueError("is neither an address nor a network")
    return found


def _ranges(networks: Sequence[tuple[str, Network]], version: int) -> Iterator[tuple[bytes, bytes, str]]:
    """First and last address and the network's name, in order and apart."""
    rows = [
        (int(one[0]), number, int(one[-1]), cidr)
        for number, (cidr, one) in enumerate(networks)
        if one.version == version
    ]
    for low, high, cidr in _joined(_parts(sorted(rows))):
        yield _bytes(low, version), _bytes(high, version), cidr


def _parts(rows: Sequence[tuple[int, int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Between two edges the same networks hold, and the first one of the list has them."""
    edges = sorted({low for low, _, _, _ in rows} | {high + 1 for _, _, high, _ in rows})
    open_rows: list[tuple[int, int, str]] = []
    begun = 0
    for low, after in pairwise(edges):
        while begun < len(rows) and rows[begun][0] == low:
            heappush(open_rows, rows[begun][1:])
            begun += 1
        while open_rows and open_rows[0][1] < low:
            heappop(open_rows)
        if open_rows:
            yield low, after - 1, open_rows[0][2]


def _joined(parts: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Neighbours of one network are one range."""
    open_part: tuple[int, int, str] | None = None
    for part in parts:
        if open_part and open_part[2] == part[2] and open_part[1] + 1 == part[0]:
            open_part = (open_part[0], part[1], part[2])
            continue
        if open_part:
            yield open_part
        open_part = part
    if open_part:
        yield open_part


def _bytes(value: int, version: int) -> bytes:
    return value.to_bytes(4 if version == 4 else 16, "big")
