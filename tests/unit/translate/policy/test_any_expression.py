"""Whatever hypothesis finds, Lua computes as cel-cpp does."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kit.agreement import FAILED, agree, by_lua
from kit.lua import lua
from portico.policy.expressions import Expression, compile_expression
from portico.policy.functions import functions
from portico.translate.policy.lua import literal


@given(st.text(st.characters(exclude_categories=())) | st.binary())
def test_any_text_survives_quoting(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    quoted = literal(text)
    assert quoted.isascii()
    assert "\n" not in quoted
    assert lua().runtime.execute(f"return {quoted}".encode()) == data


@given(st.text())
def test_any_literal_of_an_expression_survives(text: str) -> None:
    written = "'" + "".join(f"\\U{ord(character):08x}" for character in text) + "'"
    assert by_lua(written, {}) == text
    assert by_lua(f"{{{written}: 1}}[{written}]", {}) == 1


# Expressions of each type: what is known before, and what is only known when it is there.
SMALL = st.integers(-9, 9)
EXACT = st.integers(1 - (1 << 53), (1 << 53) - 1)
TEXTS = st.text(st.sampled_from("ab é😀,/-"), max_size=4)
LEAVES: dict[str, st.SearchStrategy[str]] = {
    "int": SMALL.map(str) | st.sampled_from(["vars.i", "vars.j", "vars.none", "vars.s", "size(req.url.path)"]),
    "string": TEXTS.map(lambda text: f"'{text}'") | st.sampled_from(["vars.s", "vars.t", "vars.i", "req.url.path"]),
    "bool": st.sampled_from(["true", "false", "vars.b", "vars.c", "vars.none", "vars.i", "'a' in vars.m"]),
    "list": st.sampled_from(["[]", "[1, 2]", "['a']", "vars.l", "vars.k", "vars.i", "vars.m", "req.headers"]),
}


FORMS = {
    "int": [
        *("({a.int} + {b.int})", "({a.int} - {b.int})", "({a.int} / {b.int})", "({a.int} % {b.int})", "({a.int} * 3)"),
        *("-({a.int})", "size({a.string})", "size({a.list})", "({a.bool} ? {a.int} : {b.int})", "{a.list}[{b.int}]"),
        *("int({a.string})", "({a.string}).indexOf({b.string})", "int({a.int})", "vars.m[{a.string}]"),
    ],
    "string": [
        *("({a.string} + {b.string})", "({a.bool} ? {a.string} : {b.string})", "string({a.int})", "string({a.bool})"),
        *("({a.string}).substring({a.int})", "({a.string}).replace({b.string}, 'x')", "({a.string}).charAt({b.int})"),
        *("({a.list}).join('-')", "({a.string}).trim()", "({a.string}).reverse()"),
        "vars.m[{a.string}]",
    ],
    "bool": [
        *("({a.bool} && {b.bool})", "({a.bool} || {b.bool})", "!({a.bool})", "({a.int} < {b.int})"),
        *("({a.int} == {b.int})", "({a.string} != {b.string})", "({a.string} <= {b.string})"),
        *("({a.bool} ? {b.bool} : {a.bool})", "({a.int} in {b.list})", "({a.string}).startsWith({b.string})"),
        *("({a.list}).all(x, {b.bool} || x == {b.int})", "({a.list}).exists(x, dyn(x) == {b.string} || {b.bool})"),
        *("vars.m[{a.string}]", "(vars.m[{a.string}] < {b.int})", "(vars.m[{a.string}] == {b.string})"),
        *("({a.list}).exists_one(x, x == {b.int})", "({a.list} == {b.list})", "({a.list}).all(x, dyn(x) > {b.int})"),
    ],
    "list": [
        *("[{a.int}, {b.int}]", "({a.list}).map(x, x == {b.int})", "({a.list}).filter(x, {b.bool})", "[{a.list}]"),
        *("({a.string}).split({b.string})", "[{a.string}, dyn({b.bool})]", "({a.bool} ? {a.list} : {b.list})"),
        "({a.list}).map(x, {a.bool}, [dyn(x), {b.list}])",
    ],
}


def grown(below: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[dict[str, str]]:
    """A text of each type from texts of each type."""
    pick = st.fixed_dictionaries({kind: st.sampled_from(rows) for kind, rows in FORMS.items()})

    def filled(parts: tuple[dict[str, str], dict[str, str], dict[str, str]]) -> dict[str, str]:
        chosen, a, b = parts
        found = {}
        for kind, form in chosen.items():
            text = form
            for letter, values in (("a", a), ("b", b)):
                for name, value in values.items():
                    text = text.replace(f"{{{letter}.{name}}}", value)
            found[kind] = text
        return found

    return st.tuples(pick, below, below).map(filled)


EXPRESSIONS = st.recursive(st.fixed_dictionaries(LEAVES), grown, max_leaves=6)
ANY = st.none() | st.booleans() | SMALL | TEXTS
VISITS = st.fixed_dictionaries(
    {
        "i": SMALL,
        "j": SMALL,
        "s": TEXTS,
        "t": TEXTS,
        "b": st.booleans(),
        "c": st.booleans(),
        "l": st.lists(ANY, max_size=3),
        "k": st.lists(ANY | st.lists(ANY, max_size=2), max_size=3),
        "m": st.dictionaries(TEXTS, ANY, max_size=1),
    }
)


def visited(**entries: Any) -> dict[str, Any]:
    return {"i": 0, "j": 0, "s": "", "t": "", "b": False, "c": False, "l": [], "k": [], "m": entries}


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS, VISITS)
@example({"int": "0 + vars.m['a']"}, visited(a=None))
@example({"bool": "vars.m['a'] < 1"}, visited(a="x"))
@example({"string": "'x' + vars.m['a']"}, visited(a=1))
@example({"bool": "vars.m['a'].startsWith('x')"}, visited(a=[]))
def test_any_expression_agrees(texts: dict[str, str], variables: dict[str, Any]) -> None:
    values = {"vars": variables, "req.url.path": "/é/a", "req.headers": {"a": ["x"]}}
    for text in texts.values():
        if isinstance(compile_expression(text), Expression):
            agree(text, values)


METHODS = [
    "vars.a.size()",
    "vars.a.charAt(vars.i)",
    "vars.a.substring(vars.i)",
    "vars.a.indexOf(vars.b)",
    "vars.a.indexOf(vars.b, vars.i)",
    "vars.a.lastIndexOf(vars.b)",
    "vars.a.lastIndexOf(vars.b, vars.i)",
    "vars.a.replace(vars.b, 'é-')",
    "vars.a.replace(vars.b, '', vars.i)",
    "vars.a.split(vars.b)",
    "vars.a.split(vars.b, vars.i)",
    "vars.a.reverse()",
    "vars.a.trim()",
    "vars.a.lowerAscii()",
    "vars.a.upperAscii()",
    "strings.quote(vars.a)",
    "vars.a.startsWith(vars.b)",
    "vars.a.endsWith(vars.b)",
    "vars.a.contains(vars.b)",
    "vars.a < vars.b",
    "bytes(vars.a)",
    "'%s %x %X'.format([vars.a, vars.a, vars.b])",
]
SOME = st.text(st.sampled_from('ab, \té\u00a0\u2003\u200b😀\\"A'), max_size=6)


@settings(deadline=None)
@given(SOME, SOME, st.integers(-2, 7), st.integers(-2, 7))
def test_any_text_is_treated_alike(a: str, b: str, i: int, j: int) -> None:
    for text in METHODS:
        agree(text, {"vars": {"a": a, "b": b, "i": i, "j": j}})


@given(SOME, st.integers(-2, 7), st.integers(-2, 7))
def test_a_text_may_end_where_the_whole_one_does(a: str, i: int, j: int) -> None:
    # cel-cpp (in cel-expr-python 0.1.3) takes an end at the size for one beyond it; cel-go, ngrok's library, does not.
    expected = a[i:j] if 0 <= i <= j <= len(a) else FAILED
    assert by_lua("vars.a.substring(vars.i, vars.j)", {"vars": {"a": a, "i": i, "j": j}}) == expected


@settings(deadline=None)
@given(st.binary(max_size=6), st.binary(max_size=3), st.integers(-1, 7))
def test_bytes_that_are_no_text_break_nothing(a: bytes, b: bytes, i: int) -> None:
    texts = {"a": a.decode("utf-8", "surrogateescape"), "b": b.decode("utf-8", "surrogateescape"), "i": i}
    for method in METHODS:
        by_lua(method, {"vars": texts})  # fails, or has a value


def calls() -> list[str]:
    """Every function that knows nothing of the visit, of values whose types nobody knows."""
    names = ("vars.a", "vars.b", "vars.c")
    found = []
    for function in functions():
        if function.steady:
            target, arguments = (f"{names[0]}.", names[1:]) if function.method else ("", names)
            count = len(function.parameters) - bool(function.method)
            found.append(f"{target}{function.name}({', '.join(arguments[:count])})")
    return sorted(set(found))


VALUE = st.recursive(ANY, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=1))


@settings(deadline=None)
@given(VALUE, VALUE | st.sampled_from(["hex", "base64", "10.0.0.0/8"]), SMALL)
def test_functions_look_at_what_they_are_given(a: Any, b: Any, c: int) -> None:
    for text in calls():
        agree(text, {"vars": {"a": a, "b": b, "c": c}})


@settings(deadline=None)
@given(EXACT, EXACT | SMALL)
def test_any_whole_number_is_treated_alike(a: int, b: int) -> None:
    values = {"vars": {"a": a, "b": b, "t": str(a)}}
    texts = ["vars.a == vars.b", "vars.a < vars.b", "int(vars.t)", "string(vars.a)", "int(vars.a) / int(vars.b)"]
    texts += ["int(vars.a) % int(vars.b)", "vars.a in [vars.b, vars.a]", "'%d %x %o %b'.format([vars.a, vars.b, 1, 2])"]
    for text in [*texts, "double(vars.t) == vars.a"]:
        agree(text, values)


@settings(deadline=None)
@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_any_double_is_treated_alike(a: float, b: float) -> None:
    values = {"vars": {"a": repr(a), "b": repr(b)}}
    for operation in ("string({a})", "{a} < {b}", "{a} >= {b}", "{a} == {b}", "{a} + {b}", "{a} * {b}", "{a} / {b}"):
        agree(operation.format(a="double(vars.a)", b="double(vars.b)"), values)
    if abs(a) < 1 << 53:
        agree("int(double(vars.a))", values)


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789+-.eExX intf_"), max_size=8))
def test_any_text_as_number_is_treated_alike(text: str) -> None:
    for conversion in ("int", "uint", "bool", "double"):
        agree(f"{conversion}(vars.a)", {"vars": {"a": text}})


MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
CLOCK = ["Hours", "Minutes", "Seconds", "Milliseconds"]
ACCESSORS = ["FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", *CLOCK]
ZONES = ["", "'UTC'", "'-03:30'", "'12:45'"]
A, B, C = "conn.ts.start", "req.ts.header_received", "duration(vars.c)"


@settings(max_examples=50, deadline=None)
@given(MOMENTS, MOMENTS, st.integers(-(10**15), 10**15))
def test_any_moment_is_treated_alike(a: datetime, b: datetime, nanos: int) -> None:
    span = f"{'-' if nanos < 0 else ''}{abs(nanos) // 10**9}.{abs(nanos) % 10**9:09d}s"
    values = {A: a, B: b, "vars": {"c": span, "t": a.isoformat()}}
    texts = [f"{A}.get{accessor}({zone})" for accessor in ACCESSORS for zone in ZONES]
    texts += [f"{C}.get{accessor}()" for accessor in CLOCK]
    texts += [f"string({A})", f"string({C})", f"timestamp(vars.t) == {A}", f"int({A})", f"string({A} - {B})"]
    texts += [f"string({A} + {C})", f"string({A} - {C})", f"{A} < {B}", f"string({C} + {C})", f"{C} - {C} == {C}"]
    for text in texts:
        agree(text, values)


@settings(max_examples=40, deadline=None)
@given(st.datetimes(datetime(1990, 1, 2), datetime(2037, 12, 30)))  # noqa: DTZ001
def test_named_time_zones_are_written_into_the_program(moment: datetime) -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"):
        text = f"[{A}.getDate('{zone}'), {A}.getHours('{zone}'), {A}.getMinutes('{zone}')]"
        agree(text, {A: moment.replace(tzinfo=UTC)})


PART = st.tuples(
    st.sampled_from(["", "0", "1", "23", "100000"]),
    st.sampled_from(["", ".", ".5", ".25", ".000001"]),
    st.sampled_from(["h", "m", "s", "ms", "us", "ns", "d", ""]),
).map("".join)


@settings(deadline=None)
@given(st.sampled_from(["", "-", "+"]), st.lists(PART, max_size=3).map("".join))
def test_any_text_as_duration_is_treated_alike(sign: str, parts: str) -> None:
    agree("string(duration(vars.a))", {"vars": {"a": sign + parts}})
