import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.model.errors import PorticoError
from portico.model.names import MAX_HOST_LENGTH, candidates, covers, is_wildcard, normalize_host, random_name

LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
HOSTS = st.lists(LABELS, min_size=1, max_size=5).map(".".join)


@given(HOSTS)
def test_a_host_name_has_one_spelling(host: str) -> None:
    assert normalize_host(host) == host
    assert normalize_host(f"  {host.upper()}. ") == host
    assert normalize_host(f"*.{host}") == f"*.{host}"


@given(st.text(max_size=300))
@example("*.")
@example("é" * 80)
@example("a..b")
@example("a.\u3002")
def test_any_text_is_a_host_name_or_refused(text: str) -> None:
    try:
        host = normalize_host(text)
    except PorticoError:
        return
    assert len(host) <= MAX_HOST_LENGTH + 2
    assert host.isascii()
    assert normalize_host(host) == host


@pytest.mark.parametrize("text", ["", ".", "*", "a b", "-a.b", "a-.b", "a.*.b", "a/b", "[::1]", "x" * 64, "a." * 130])
def test_what_no_dns_name_can_be_is_refused(text: str) -> None:
    with pytest.raises(PorticoError, match="is not a host name"):
        normalize_host(text)


def test_other_scripts_become_idna() -> None:
    assert normalize_host("Bücher.Example") == "xn--bcher-kva.example"


@given(HOSTS, HOSTS)
def test_a_wildcard_covers_what_is_below_it_and_nothing_else(host: str, base: str) -> None:
    below = f"{host}.{base}"
    assert covers(f"*.{base}", below)
    assert not covers(f"*.{base}", base)
    assert covers(base, base)
    assert not covers(f"*.x{base}", below)


@given(HOSTS)
def test_candidates_go_from_the_name_to_the_widest_wildcard_that_covers_it(host: str) -> None:
    names = candidates(host)
    assert names[0] == host
    assert all(is_wildcard(name) and covers(name, host) for name in names[1:])
    assert sorted(names[1:], key=len, reverse=True) == names[1:]


def test_random_names_are_host_names_below_the_domain() -> None:
    names = {random_name("tunnels.example.com") for _ in range(200)}
    assert len(names) == 200
    assert all(normalize_host(name) == name and covers("*.tunnels.example.com", name) for name in names)
