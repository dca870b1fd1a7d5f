"""Sections: what they read, what they say of what is wrong, and that nobody changes them."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.cli.config.fields import MAPPING, SECRET, SWITCH, TEXT, TEXTS, Many, Named, Part, Secret, one_of
from portico.cli.config.models import AgentKeys, Document, EndpointKeys, Tunnel
from portico.cli.config.section import Section, SectionError, field


class Inner(Section):
    word: str = field(TEXT, "A word.")


class Outer(Section):
    kind: str = field(one_of("", "red", "green"), "A colour.", default="red")
    inner: Inner | None = field(Part(Inner), "Below.", default=None)
    all: tuple[Inner, ...] = field(Many(Part(Inner), at_most=1, alone=False), "Several.", default=())
    named: dict[str, Inner] = field(Named(Part(Inner)), "By name.", default={})
    secret: Secret = field(SECRET, "Hidden.", default=Secret(""))
    on: bool = field(SWITCH, "Whether.", default=False)

    def conflicts(self) -> Iterator[str]:
        if self.on and self.kind == "red":
            yield "red is never on"


def faults(values: object) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(SectionError) as caught:
        Outer.read(values)
    return [(fault.path, fault.words) for fault in caught.value.faults]


def test_defaults_and_values() -> None:
    assert Outer.read({}) == Outer() == Outer(kind="red")
    read = Outer.read({"inner": {"word": "a"}, "all": [{"word": "b"}], "named": {"x": {"word": "c"}}, "kind": ""})
    assert read == Outer(inner=Inner(word="a"), all=(Inner(word="b"),), named={"x": Inner(word="c")}, kind="")
    assert read != Outer()


def test_a_key_without_a_value_counts_as_absent() -> None:
    assert Outer.read({"kind": None, "inner": None}) == Outer()
    assert faults({"inner": {"word": None}}) == [(("inner", "word"), "is missing")]


def test_everything_wrong_is_told_at_once() -> None:
    assert faults({"kind": "gren", "inner": 1, "all": [{"word": 2}, {}], "named": [], "on": "maybe", "extra": 1}) == [
        (("kind",), "must be red or green; did you mean green?"),
        (("inner",), "must be a mapping of keys to values"),
        (("all", 0, "word"), "must be text"),
        (("all", 1, "word"), "is missing"),
        (("named",), "must be a mapping of keys to values"),
        (("on",), "must be true or false"),
        (("extra",), "unknown key"),
    ]
    assert faults({"all": "text"}) == [(("all",), "must be a list")]
    assert faults({"all": [{"word": "a"}, {"word": "b"}]}) == [(("all",), "must have at most 1 item, not 2")]
    assert faults("text") == [((), "must be a mapping of keys to values")]


def test_conflicts_are_looked_for_among_right_values() -> None:
    assert faults({"on": True}) == [((), "red is never on")]
    assert faults({"on": True, "kind": 1}) == [(("kind",), "must be red or green")]
    assert Outer.read({"on": True, "kind": "green"}).on


def test_values_laid_over() -> None:
    first = Outer(kind="green", secret=Secret("s"))
    assert first.over({"on": "yes"}) == first.replaced(on=True)
    with pytest.raises(SectionError):
        first.over({"on": "maybe"})
    with pytest.raises(SectionError):
        Outer().over({"on": "yes"})


def test_nobody_changes_a_section_or_makes_one_with_other_keys() -> None:
    section = Outer()
    with pytest.raises(AttributeError):
        section.kind = "green"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Inner()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Inner(word="a", other=1)  # type: ignore[call-arg]


def test_a_secret_does_not_show() -> None:
    assert "geheim" not in repr(Outer(secret=Secret("geheim")))
    assert "geheim" not in f"{Secret('geheim')}"
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_fault_repeats_no_value() -> None:
    with pytest.raises(SectionError) as caught:
        Tunnel.read({"basic_auth": ["geheim"], "oauth": {"provider": "x", "client_secret": ["geheim"]}})
    assert "geheim" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                    lambda below: st.lists(below, max_size=3) | st.dictionaries(
                        st.sampled_from([*AgentKeys.known, *Tunnel.known, *EndpointKeys.known, *Document.known]),
                        below, max_size=4), max_leaves=12))  # fmt: skip
def test_any_value_is_read_or_refused(value: Any) -> None:
    for section in (Document, AgentKeys, Tunnel, EndpointKeys):
        try:
            read: Section = section.read(value)
        except SectionError as error:
            assert error.faults
        else:
            assert read == read.replaced()


def test_every_reader_of_the_file_says_what_it_takes() -> None:
    for reader in (MAPPING, TEXTS, *(key.reader for section in (AgentKeys, Tunnel) for key in section.known.values())):
        assert bool(reader.words) != bool(reader.section)
