import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from portico.edge.settings_values import (
    PortRange,
    parse_address,
    parse_authtoken,
    parse_domain,
    parse_ip,
    parse_name,
    parse_optional_address,
    parse_owner_name,
    parse_path,
    parse_port_range,
    parse_url,
    read_authtoken,
)
from portico.model.edge import SocketAddress

PORTS = st.integers(1, 65_535)
ANYTHING = st.text(max_size=40) | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.integers())
PARSERS = [
    parse_address,
    parse_authtoken,
    parse_domain,
    parse_ip,
    parse_name,
    parse_optional_address,
    parse_owner_name,
    parse_path,
    parse_port_range,
    parse_url,
    read_authtoken,
]


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_an_address_is_read_back_from_its_own_text(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    address = SocketAddress(str(ip), port)
    assert parse_address(str(address)) == address


def test_short_forms_of_an_address() -> None:
    assert parse_address(":8443") == SocketAddress("0.0.0.0", 8443)
    assert parse_address("localhost:0") == SocketAddress("127.0.0.1", 0)
    assert parse_optional_address("off") is None
    assert parse_optional_address(False) is None


@pytest.mark.parametrize(
    "text",
    ["", "8443", "a:1", "::1:80", "[::1]", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:٣", "[fe80::1%lo]:1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_address(text)


@given(PORTS, PORTS)
def test_a_port_range_has_both_its_ends(one: int, other: int) -> None:
    ports = parse_port_range(f"{min(one, other)}-{max(one, other)}")
    assert one in ports
    assert other in ports
    assert len(ports) == abs(one - other) + 1
    assert parse_port_range(str(ports)) == ports


@pytest.mark.parametrize("value", ["", "-", "1-", "-2", "0-5", "5-65536", "9-8", "a-b", "1-2-3", True, None, 1.5, [1]])
def test_what_is_no_port_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"port|range"):
        parse_port_range(value)


def test_one_port_is_a_range() -> None:
    assert parse_port_range(2222) == PortRange(2222, 2222)


@pytest.mark.parametrize("parse", PARSERS)
@given(value=ANYTHING)
def test_every_parser_takes_or_refuses_with_a_value_error(parse: Callable[[object], object], value: object) -> None:
    try:
        parse(value)
    except ValueError as error:
        assert str(error)
        assert "\n" not in str(error)


@given(st.text(max_size=40))
def test_an_authtoken_is_never_part_of_a_message(text: str) -> None:
    token = f"Q{text}Q-the-secret"
    try:
        assert parse_authtoken(token).get_secret_value() == token
    except ValueError as error:
        assert token not in str(error)


def test_a_token_that_ngrok_gave_is_a_token_here() -> None:
    token = "2abcDEFghiJKLmnoPQRstuVWXyz_3AbCdEfGhIjKlMnOpQrSt"
    assert parse_authtoken(token) == SecretStr(token)
