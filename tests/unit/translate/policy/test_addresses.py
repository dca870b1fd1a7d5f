"""Addresses and networks in Lua, held against Python's ipaddress."""

import ipaddress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.lua import lua
from portico.policy.functions import addresses
from portico.translate.policy.networks import networks_lua

WRITTEN = ["0.0.0.0", "10.1.2.3", "255.255.255.255", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.-4", "", " "]
WRITTEN += ["::", "::1", "1::", "1::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::"]
WRITTEN += [
    "::ffff:1.2.3.4",
    "::1.2.3.4",
    "1:2:3:4:5:6:1.2.3.4",
    "1.2.3.4::",
    "::ffff:1.2.3.04",
    "1::2::3",
    ":::",
    ":1",
]
WRITTEN += ["fe80::1%eth0", "fe80::1%", "fe80::1%a%b", "g::", "12345::", "1:", " 10.0.0.1 ", "\t::1\n", "1:2:3:4:5:6:7"]
FOUR, SIX = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
FORMS = st.ip_addresses(v=6).map(lambda one: one.exploded) | st.ip_addresses(v=4).map(lambda one: f"::ffff:{one}")
TEXTS = st.text("0123456789abf:.%/ ", max_size=20)


@st.composite
def cidrs(draw: st.DrawFn) -> str:
    """Networks that often hold each other."""
    four = draw(st.booleans())
    first = draw(st.integers(0, 255)) << (24 if four else 120)
    length = draw(st.integers(0, 32 if four else 128))
    base = ipaddress.IPv4Address(first) if four else ipaddress.IPv6Address(first)
    return f"{base}/{length}"


@cache
def address() -> Any:
    return lua().library[b"address"]


@given(st.sampled_from(WRITTEN) | FOUR | SIX | FORMS | TEXTS)
def test_an_address_is_what_python_says(text: str) -> None:
    found = addresses.address(text)
    assert address()(text.encode()) == (None if found is None else found.packed)


@pytest.mark.parametrize("text", WRITTEN)
def test_every_spelling(text: str) -> None:
    found = addresses.address(text)
    assert address()(text.encode()) == (None if found is None else found.packed)


MASKS = [
    "/255.255.0.0",
    "/0.0.255.255",
    "/255.0.255.0",
    "/0.0.0.0",
    "/255.255.255.255",
    "/33",
    "/129",
    "/",
    "/-1",
    "/08",
]


@given(
    st.sampled_from(WRITTEN) | FOUR | SIX | TEXTS,
    st.integers(0, 130).map(lambda length: f"/{length}") | st.sampled_from(["", *MASKS, "/8/8", "/x"]),
)
def test_a_network_is_what_python_says(text: str, mask: str) -> None:
    found = addresses.network(text + mask)
    expected = (None, None) if found is None else (found[0].packed, found[-1].packed)
    given_by_lua = lua().library[b"network"]((text + mask).encode())
    assert (given_by_lua if isinstance(given_by_lua, tuple) else (given_by_lua, None)) == expected


@given(cidrs() | FOUR | SIX | TEXTS, FOUR | SIX | FORMS)
def test_in_network_is_what_explanations_say(cidr: str, ip: str) -> None:
    assert lua().function("inCidrRange", ip, cidr) == addresses.in_network(ip, cidr)
    assert lua().function("isPrivateIp", ip) == addresses.is_private(ip)


@pytest.mark.parametrize(
    ("cidr", "inside"),
    [("::ffff:127.0.0.1", True), ("::ffff:127.0.0.0/104", True), ("::ffff:0:0/96", True), ("::ffff:0:0/90", False)],
)
def test_a_network_of_ipv4_inside_ipv6_has_ipv4_visitors(cidr: str, inside: bool) -> None:
    """As `Contains` of Go's net.IPNet says it; a list to deny would let them in otherwise."""
    assert addresses.in_network("127.0.0.1", cidr) is inside
    assert lua().function("inCidrRange", "127.0.0.1", cidr) is inside
    matcher = lua().runtime.execute(f"local P = ... return {networks_lua([cidr])}".encode(), lua().library)
    assert matcher[b"find"](matcher, b"127.0.0.1") == (cidr.encode() if inside else None)


@given(
    st.lists(cidrs(), max_size=8), st.lists(FOUR | SIX | cidrs().map(lambda cidr: cidr.partition("/")[0]), min_size=3)
)
def test_a_list_is_searched_for_its_first_network(networks: list[str], ips: list[str]) -> None:
    matcher = lua().runtime.execute(f"local P = ... return {networks_lua(networks)}".encode(), lua().library)
    for ip in ips:
        first = next((cidr for cidr in networks if addresses.in_network(ip, cidr)), None)
        assert matcher[b"find"](matcher, ip.encode()) == (first and first.encode())
        assert lua().function("inCidrRanges", ip, networks) == (first is not None)


def test_neighbours_of_one_network_are_one_range() -> None:
    assert networks_lua(["10.0.0.0/8", "10.1.0.0/16"]).count("\\255") == 3


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="neither an address nor a network"):
        networks_lua(["10.0.0.0/99"])
