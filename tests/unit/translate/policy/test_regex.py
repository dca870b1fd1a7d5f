"""Regular expressions in Lua, held against RE2 itself (in cel-cpp) and against what explanations replace with."""

import re
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kit.lua import LuaError, lua
from portico.model.errors import NOT_SERVED, PorticoError
from portico.policy.actions.fields import as_python
from portico.policy.actions.urls import replaced
from portico.policy.expressions import Expression, compile_expression, evaluate, regex_fault
from portico.translate.policy.regular_expressions import RegexRefused, lua_program
from portico.translate.policy.trial import refuse_what_cannot_run


@lru_cache(500)
def program(pattern: str) -> Any:
    return lua().runtime.execute(f"local P = ... return {lua_program(pattern)}".encode(), lua().library)


def matches(pattern: str, text: str) -> bool:
    return bool(lua().library[b"regex"][b"matches"](program(pattern), text.encode()))


def find(pattern: str, text: str, at: int = 0) -> list[tuple[int, int] | None] | None:
    """Begin and end of the match and of each group, in bytes from 0."""
    known = program(pattern)
    found = lua().library[b"regex"][b"find"](known, text.encode(), at + 1)
    if found is None:
        return None
    bounds = [(found[2 * group + 1], found[2 * group + 2]) for group in range(known[b"groups"] + 1)]
    return [(first - 1, stop - 1) if first else None for first, stop in bounds]


def replace(pattern: str, replacement: str, text: str) -> tuple[str, list[str]]:
    after, found = lua().library[b"regex"][b"replace"](program(pattern), text.encode(), replacement.encode())
    return after.decode(), lua().plain(found)


def re2_matches(pattern: str, text: str) -> bool:
    asked = compile_expression("vars.t.matches(vars.p)")
    assert isinstance(asked, Expression)
    return bool(evaluate(asked, {"vars": {"t": text, "p": pattern}}))


ATOMS = [
    "a",
    "b",
    "k",
    "K",
    "é",
    "É",
    "\u017f",
    "€",
    "😀",
    "-",
    "\n",
    ".",
    "^",
    "$",
    r"\A",
    r"\z",
    r"\b",
    r"\B",
    r"\d",
    r"\W",
    r"\s",
]
ATOMS += [
    "[ab]",
    "[^a]",
    "[a-k]",
    "[^é]",
    r"[\d-]",
    "[[:alpha:]_]",
    "[^[:^word:]é-€]",
    r"\pL",
    r"\P{Lu}",
    r"\x61",
    r"\x{20AC}",
]
ATOMS += [r"\n", r"\.", r"\141", r"\Qa.b\E", "[]a]", "[^]a]", r"[a\]\-b]", "[b-]", "(?i)", "(?m)", "(?s-i)", "(?U)"]
REPEATS = ["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,3}?", "{,2}", "{0}"]
PATTERNS = st.recursive(
    st.builds(lambda atom, repeat: atom + repeat, st.sampled_from(ATOMS), st.sampled_from(REPEATS)),
    lambda inner: (
        st.lists(inner, max_size=4).map("".join)
        | st.builds(
            lambda opening, one, other, repeat: f"{opening}{one}|{other}){repeat}",
            st.sampled_from(["(", "(?:", "(?i:", "(?m-s:"]),
            inner,
            inner,
            st.sampled_from(REPEATS),
        )
    ),
    max_leaves=8,
)
TEXTS = st.text("aabbkKéÉ\u017f€😀-\n._1K", max_size=12)


@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=5))
@example("(?i)k", ["K", "\u017f"])
@example(r"\bé\b", ["é", "aéa"])
@example("^$", ["", "\n"])
@example("(?m)^$", ["a\n\nb"])
@example("(|a)+b", ["aab"])
def test_what_matches_is_what_re2_says(pattern: str, texts: list[str]) -> None:
    assume(not regex_fault(pattern))
    # RE2 finds \B within a character of several bytes.
    for text in (text for text in texts if r"\B" not in pattern or text.isascii()):
        assert matches(pattern, text) == re2_matches(pattern, text), text
        assert (find(pattern, text) is not None) == matches(pattern, text), text


@given(PATTERNS)
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    if regex_fault(pattern):
        with pytest.raises(RegexRefused):
            lua_program(pattern)


@given(st.text(r"ab[]^-\(){}*+?|,0129:Pp<>dQEzZx", max_size=9))
def test_any_text_is_read_as_re2_reads_it(pattern: str) -> None:
    if regex_fault(pattern):
        with pytest.raises(RegexRefused):
            lua_program(pattern)
    else:
        for text in ("", "a", "ab", "b-a", "]^", "\\", "12ab{"):
            assert matches(pattern, text) == re2_matches(pattern, text), text


# Python's `re` means the same by these.
SHARED = st.recursive(
    st.sampled_from(["a", "b", "c", "é", ".", "[ab]", "[^a]", "[a-cé]", r"\n", "x?", "^", r"\b"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.builds("({}|{})".format, inner, inner)
        | st.builds("(?P<n>{})".format, inner)
        | st.builds(
            lambda part, repeat: f"(?:{part}){repeat}",
            inner,
            st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}"]),
        )
    ),
    max_leaves=6,
)


def _nothing_repeated(pattern: str) -> bool:
    """Machines differ in what a group kept that was repeated without a byte, as between two words' ends."""
    return not any(
        re.fullmatch(as_python(part).replace(r"\b", "").replace("[^", "[!").replace("^", ""), "")
        for part in _repeated(pattern)
    )


def _repeated(pattern: str) -> list[str]:
    found, open_ones = [], []
    for at, letter in enumerate(pattern):
        if letter == "(":
            open_ones.append(at)
        elif letter == ")":
            start = open_ones.pop()
            if pattern[at + 1 : at + 2] in ("*", "+", "{", "?") and pattern[at + 1]:
                found.append(pattern[start : at + 1].replace("(?P<n>", "("))
    return found


@given(SHARED, st.text("abcé\n", max_size=10))
@example("(a+)(b+)?", "xaab aa")
def test_what_is_found_is_what_python_finds(pattern: str, text: str) -> None:
    assume(pattern.count("?P<n>") < 2 and not regex_fault(pattern) and _nothing_repeated(pattern))
    expected = re.search(pattern, text, re.ASCII)
    found = find(pattern, text)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        at = [len(text[:place].encode()) for place in range(len(text) + 1)]
        spans = [expected.span(group) for group in range(expected.re.groups + 1)]
        assert found == [None if first < 0 else (at[first], at[stop]) for first, stop in spans]


@given(SHARED, st.text("$1{}n<_20-", max_size=8), st.text("abcé", max_size=8))
@example("(?P<n>a)|b", "<$1${n}$n$2$0$x>", "cabc")
@example("a*", "-", "baac")
@example("", "-", "é€")
@example("a", "$$1${1$", "aa")
def test_what_is_replaced_is_what_explanations_show(pattern: str, replacement: str, text: str) -> None:
    assume(pattern.count("?P<n>") < 2 and not regex_fault(pattern) and _nothing_repeated(pattern))
    assume(r"\b" not in pattern)  # In explanations é is a letter.
    assert replace(pattern, replacement, text) == replaced(pattern, replacement, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (".*", "abc", "<>"),
        ("a*", "baaac", "<>b<>c<>"),
        ("a*", "baa", "<>b<>"),
        ("$", "abc", "abc<>"),
        ("b?", "abb", "<>a<><>"),
        ("", "é€", "<>é<>€<>"),
        ("a|", "ba", "<>b<>"),
        ("|a", "aa", "<>a<>a<>"),
        (r"\b", "ab cd", "<>ab<> <>cd<>"),
    ],
)
def test_an_empty_match_behind_another_is_none_as_in_go(pattern: str, text: str, expected: str) -> None:
    """What Go's `ReplaceAllString` gives; ngrok's actions are Go's."""
    assert replace(pattern, "<>", text)[0] == expected
    assert replaced(pattern, "<>", text)[0] == expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("/v[0-9]+/(.*)", "https://h/v12/x?y", [(9, 17), (14, 17)]),
        ("a|ab", "ab", [(0, 1)]),
        ("a??b", "ab", [(0, 2)]),
        ("(a*)+", "b", [(0, 0), (0, 0)]),
        ("(?i)straße", "STRASSE STRAẞE", [(8, 16)]),
        (r"[\pL\pN]{2,}", "--ü7", [(2, 5)]),
        ("x*", "é", [(0, 0)]),
        (r"\C\C", "é", [(0, 2)]),
        ("abc(d|e)", "ababce", [(2, 6), (5, 6)]),
    ],
)
def test_examples(pattern: str, text: str, expected: list[tuple[int, int]]) -> None:
    assert find(pattern, text) == expected


REFUSED = [
    r"\p{Greek}",
    r"\Z",
    r"\1",
    "(?=a)",
    "a**",
    "*",
    "a{1001}",
    "a{2,1}",
    "[b-a]",
    "[a",
    "(a",
    "a)",
    "[[:no:]]",
    "\\",
]
REFUSED += [r"\x{110000}", "(?P<a>x)(?P<a>y)", r"\_", r"\é", "(?)", "(" * 300 + ")" * 300, "(?:(?:a{100}){100}){100}"]
REFUSED += ["(?:(?:(?:){1000}){1000}){1000}", "()" * 300, r"\pL{500}", r"[a-\d]"]


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda pattern: pattern[:20])
def test_what_has_no_program_is_refused_with_its_reason(pattern: str) -> None:
    with pytest.raises(RegexRefused, match=r"^the regular expression [a-z]"):
        lua_program(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|a)*b", "(a?){50}a{50}b", "(x+x+)+y", "(?:a{0,30}){0,30}b", ".*.*.*=z"]
)
def test_hostile_texts_cost_no_more_than_their_length(pattern: str) -> None:
    """Machines that go back would need 2^20000 steps here, and the test would time out."""
    text = "a" * 20_000
    assert not matches(pattern, text)
    assert find(pattern, text[:2000]) is None


def test_replacements_that_look_at_everything_again_and_again_fail() -> None:
    with pytest.raises(LuaError, match="looks at this text too often"):
        lua().evaluate(f'P.regex.replace({lua_program("a.*z|a")}, string.rep("a", 20000), "b")')
    assert replace("a.*z|a", "b", "a" * 100) == ("b" * 100, ["a"] * 100)
    assert replace("[ab]c?|d", "", "abcd" * 5000) == ("", ["a", "bc", "d"] * 5000)


def test_the_states_of_a_program_are_bounded() -> None:
    pattern = "[ab]*a[ab]{14}c"
    texts = [f"{number:016b}".replace("0", "a").replace("1", "b") for number in range(0, 1 << 16, 7)]
    assert not matches(pattern, "".join(texts))
    assert matches(pattern, "".join(texts) + "a" * 15 + "c")
    assert program(pattern)[b"weight"] < 21_000


@given(st.text("a.é\\\\\\-_^{}]d ", max_size=6), st.text("a.é\\-_^{}]d ", max_size=8))
@example(r"a-b/\.é", "xa-b/.éx")
def test_patterns_of_the_visit_are_plain_texts(pattern: str, text: str) -> None:
    """Those that are taken mean what RE2 says."""
    values = {"vars": {"p": pattern, "t": text}}
    asked = 'P.regex.matches(P.regex.dynamic(v:get("vars").values.p), v:get("vars").values.t)'
    try:
        found = lua().evaluate(asked, values)
    except LuaError as error:
        assert "plain text" in str(error)
        assert set(pattern) & set("\\.^{}]")
    else:
        assert found == re2_matches(pattern, text)


@pytest.mark.parametrize(
    "policy",
    [
        r"""{on_http_request: [{actions: [{type: url-rewrite, config: {from: '\p{Greek}', to: x}}]}]}""",
        r"""{on_http_request: [{expressions: ["req.host.matches(r'\\p{Greek}')"], actions: [{type: deny}]}]}""",
    ],
)
def test_a_policy_with_such_a_pattern_is_refused_at_the_door(policy: str) -> None:
    with pytest.raises(PorticoError, match="the regular expression asks for Greek") as raised:
        refuse_what_cannot_run(policy)
    assert raised.value.code is NOT_SERVED
