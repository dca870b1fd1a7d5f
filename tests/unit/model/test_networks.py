from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from portico.model.endpoint import Networks, both

CIDRS = st.builds(
    lambda number, length: str(ip_network((number, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2, 3, 8, 31, 32]),
)
LISTS = st.lists(CIDRS, max_size=4).map(tuple)
ADDRESSES = st.integers(0, 2**32 - 2).map(ip_address)


def lets_in(networks: Networks, address: object) -> bool:
    def inside(listed: tuple[str, ...]) -> bool:
        return any(address in ip_network(one) for one in listed)  # type: ignore[operator]

    return (not networks.allowed or inside(networks.allowed)) and not inside(networks.denied)


@given(LISTS, LISTS, ADDRESSES)
def test_ranges_have_who_is_allowed_and_not_denied(
    allowed: tuple[str, ...], denied: tuple[str, ...], address: object
) -> None:
    networks = Networks(allowed, denied)
    found = any(address in ip_network(one) for one in networks.ranges())  # type: ignore[operator]
    assert found == lets_in(networks, address)


@given(LISTS, LISTS, LISTS, ADDRESSES)
def test_both_let_in_whom_each_lets_in(
    a: tuple[str, ...], b: tuple[str, ...], denied: tuple[str, ...], address: object
) -> None:
    one, other = Networks(a, denied), Networks(b)
    common = both(one, other)
    assert common is not None
    assert lets_in(common, address) == (lets_in(one, address) and lets_in(other, address))


def test_one_alone_says_it_all() -> None:
    only = Networks(("10.0.0.0/8",))
    assert both(None, only) is only
    assert both(only, None) is only
    assert both(None, None) is None
    assert Networks().ranges() == ("0.0.0.0/0", "::/0")
    assert Networks(denied=("0.0.0.0/0", "::/0")).ranges() == ()
