import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.policy import syntax
from portico.policy.expressions import Expression, Failed, check_expression, compile_expression, evaluate
from portico.policy.functions import STANDARD, functions
from portico.policy.phases import Phase
from portico.policy.variables import variables


def compiled(text: str) -> Expression:
    found = compile_expression(text)
    assert isinstance(found, Expression), found
    return found


def faults(text: str, phase: Phase = Phase.HTTP_REQUEST) -> list[tuple[int, str]]:
    found = compile_expression(text)
    all_faults = check_expression(found, phase) if isinstance(found, Expression) else found
    return [(fault.offset, fault.text) for fault in all_faults]


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("req.urll == 'x'", 0, "did you mean req.url?"),
        ("true && req.url.pathh == 'x'", 8, "did you mean req.url.path?"),
        ("req == 1", 0, "name one of its fields"),
        ("foo(1)", 0, "no function foo"),
        ("hash.sha25('a') == ''", 0, "did you mean hash.sha256?"),
        ("req.host.startWith('a')", 0, "did you mean startsWith?"),
        ("req.url.port == 'a'", 13, "== does not take (int, string)"),
        ("1 +", 3, "its end"),
        ("req.method = method", 11, "== compares"),
        ("req.method == 'GET' 1", 20, "1 is not expected here"),
        ("req.method ? ;", 13, "; means nothing here"),
        ("(", 1, "its end"),
        ("", 0, "its end"),
        ("has(req.headers['a'])", 15, "'name' in req.headers"),
        ("has(req.url)", 0, "always there"),
        ("conn.geo.latitude == 'x'", 0, "city, country_code and subdivision"),
        ("conn.client_ip.is_on_blocklist", 0, "no database"),
        ("req.user_agent.is_bot", 0, "does not take User-Agent apart"),
        ("res.status_code == 1", 0, "only in on_http_response"),
        ("getResHeader('a')[0] == ''", 12, "only in on_http_response"),
        ("attempts > 1", 0, "retry_condition"),
        ("actions.ngrok.oauth.identiy.email == ''", 0, "did you mean identity?"),
        ("req.headers['X-A'][0] == ''", 11, "write 'x-a'"),
        ("req.host.matches('(')", 16, "RE2"),
        ("a" * 20_000, 0, "at most"),
        ("\ud800", 0, ""),
        ("vars" + ".a" * 6_000, 0, "recursion depth"),
        ("(" * 60 + "1" + ")" * 60, 0, "recursion"),
    ],
)
def test_a_slip_is_told_where_it_is(text: str, offset: int, words: str) -> None:
    ((found, told),) = faults(text)
    assert (found, words in told) == (offset, True), (found, told)


def test_two_slips_are_told_at_once() -> None:
    assert [offset for offset, _ in faults("foo.bar(2) == 1 &&\n req.nope == 1")] == [0, 20]


VALUES: dict[str, Any] = {
    "req.headers": {"x-a": ["1", "2"]},
    "req.cookies": {"s": [{"name": "s", "value": "v"}]},
    "req.url.query_params": {"q": ["1"]},
    "conn.ts.start": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "vars": {"list": [3, 1, 1]},
}


@pytest.mark.parametrize(
    "text",
    [
        # https://ngrok.com/docs/traffic-policy/macros/: each function with a value that its page or its standard names
        "base64.decode('aGVsbG8=') == b'hello' && base64.encode(b'hello') == 'aGVsbG8='",
        "'aGVsbG8='.decodeBase64() == 'hello' && 'hello'.encodeBase64() == 'aGVsbG8='",
        "basic_auth.encode('username', 'password1') == 'Basic dXNlcm5hbWU6cGFzc3dvcmQx'",
        "getReqHeader('X-A') == ['1', '2'] && getReqHeader('nope') == [] && hasReqHeader('X-A')",
        "getReqCookie('s').value == 'v' && hasReqCookie('s') && !hasReqCookie('t')",
        "getQueryParam('q') == ['1'] && hasQueryParam('q') && !hasQueryParam('r')",
        "hash.crc32('hello') == '3610a686' && 'hello'.crc32('base64') == 'NhCmhg=='",
        "hash.crc64('hello') == '3c3eeee2d8100000' && 'hello'.crc64('base64') == 'PD7u4tgQAAA='",
        "hash.md5('hello') == '5d41402abc4b2a76b9719d911017c592'",
        "'hello'.sha1() == 'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d'",
        "hash.sha256('hello') == '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'",
        "hash.sha512('').startsWith('cf83e1357eefb8bd')",
        "hash.xxhash64('hello') == '26c7827d889f6da3' && hash.xxhash64('') == 'ef46db3751d8e999'",
        "hash.xxhash64('Nobody inspects the spammish repetition') == 'fbcea83c8a378bf1'",
        "json.decode('{\"a\": [1, 2.5]}').a[1] == 2.5 && json.encode({'a': 'b'}) == '{\"a\":\"b\"}'",
        "['a'].encodeJson() == '[\"a\"]' && {'a': 1}.encodeJson() == '{\"a\":1}' && '[1]'.decodeJson()[0] == 1",
        "'{}'.isJson() && !'not json'.isJson() && !'[NaN]'.isJson()",
        "queryString.decode('a=b&c=d') == {'a': 'b', 'c': 'd'} && 'a=b'.decodeQueryString().a == 'b'",
        "queryString.encode({'a': 'b', 'c': 1}) == 'a=b&c=1' && {'a': 'b c'}.encodeQueryString() == 'a=b+c'",
        "'a=b&c=d'.isQueryString() && !'not a query string'.isQueryString()",
        "url.escape('i;md/r/$y') == 'i%3Bmd%2Fr%2F%24y' && 'i%3Bmd%2Fr%2F%24y'.unescapeUrl() == 'i;md/r/$y'",
        "url.parse('https://a.example:1/p').host == 'a.example:1' && 'https://a.example'.parseUrl().scheme == 'https'",
        "'https://example.com'.isURL() && !'not a url'.isURL()",
        "inCidrRange('192.168.1.100', '192.168.1.0/24') && !inCidrRange('::1', '0.0.0.0/0') && !inCidrRange('a', 'b')",
        "inCidrRanges('2001:4860::1', ['66.249.66.1/24', '2001:4860::/32', 'nonsense'])",
        "'192.168.1.1'.isPrivateIp() && !'8.8.8.8'.isPrivateIp() && '::ffff:10.0.0.1'.isPrivateIp()",
        "[1, [2, [3]]].flatten() == [1, 2, [3]] && [1, [2, [3]]].flatten(2) == [1, 2, 3]",
        "[1, 2, 3, 4].slice(1, 3) == [2, 3] && vars.list.sort() == [1, 1, 3] && vars.list.distinct() == [3, 1]",
        "['b', 'b', 'c', 'a', 'c'].distinct() == ['b', 'c', 'a'] && [1, 'b', 2, 'b', 1.0].distinct().size() == 4",
        "lists.range(3) == [0, 1, 2] && ['b', 'a'].sort() == ['a', 'b']",
        "'ÉCOLE'.lower() == 'école' && 'école'.upper() == 'ÉCOLE' && 'TacoCat'.lowerAscii() == 'tacocat'",
        "'hello'.charAt(4) == 'o' && 'hello mellow'.indexOf('ello', 2) == 7 && 'tacocat'.substring(0, 4) == 'taco'",
        "['a', 'b'].join('-') == 'a-b' && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'hello'.replace('l', 'L') == 'heLLo'",
        "'hello %s %d'.format(['world', 42]) == 'hello world 42' && ' a '.trim() == 'a' && 'gums'.reverse() == 'smug'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "timestamp('2023-12-25T00:00:00Z').getDate('America/Los_Angeles') == 24 && conn.ts.start.getFullYear() == 2026",
        "duration('1h30m').getMinutes() == 90 && timestamp('2023-12-25T00:00:00Z').getDayOfWeek() == 1",
        "[1, 2, 3].all(x, x > 0) && [1, 2, 3].exists_one(x, x == 2) && [1, 2].map(n, n > 1, n * n) == [4]",
        "rand.double() == 0.5 && rand.int(0, 10) == 5",
    ],
)
def test_functions_compute_what_is_published(text: str) -> None:
    assert evaluate(compiled(text), VALUES) is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("base64.decode('aGVsbG8')", "no base64"),
        ("[1, 'b'].sort()", "comparable"),
        ("[[1]].sort()", "comparable"),
        ("[1].flatten(-1)", "negative"),
        ("[1].slice(1, 3)", "beyond"),
        ("json.decode('{')", "no JSON"),
        ("hash.md5('a', 'hax')", "hex or base64"),
        ("lists.range(1000000)", "at most"),
        ("rand.int(5, 1)", "smaller one first"),
        ("url.parse('http://[')", "no URL"),
        ("req.headers['nope'][0]", "no entry nope"),
        ("getReqCookie('nope').value", "no such cookie"),
        ("1 / 0 == 1", "divide by zero"),
    ],
)
def test_what_cannot_be_computed_fails_with_a_reason(text: str, reason: str) -> None:
    found = evaluate(compiled(text), VALUES)
    assert isinstance(found, Failed)
    assert (reason in found.reason, found.unknown) == (True, ""), found.reason


def test_what_was_not_told_is_unknown() -> None:
    for text in ("conn.tls.sni == 'a'", "getResHeader('a') == []", "conn.tls.client.san.dns_names == []"):
        found = evaluate(compiled(text), VALUES)
        assert isinstance(found, Failed)
        assert found.unknown


def test_secrets_are_never_computed() -> None:
    expression = compiled("secrets.get('vault', 'name')")
    assert expression.secret
    assert evaluate(expression, {}) == "••••••"


def test_the_tree_has_what_was_written_and_where() -> None:
    expression = compiled(
        "req.url.path == '/é' && has(vars.a) || [1u, 2.5, null, b'x', {'k': true}].exists(x, x == -1)"
    )
    names = {node.name for node in expression.syntax.walk() if isinstance(node, syntax.Name)}
    assert names >= {"req.url.path", "vars", "x"}
    assert expression.variables == {"req.url.path", "vars"}
    literals = [node.value for node in expression.syntax.walk() if isinstance(node, syntax.Literal)]
    assert "/é" in literals
    assert [value for value in literals if isinstance(value, syntax.Unsigned)] == [1]
    assert {2.5, None, b"x", True, -1} <= set(literals)
    (tested,) = [node for node in expression.syntax.walk() if isinstance(node, syntax.Select)]
    assert (tested.field, tested.test) == ("a", True)
    (loop,) = [node for node in expression.syntax.walk() if isinstance(node, syntax.Loop)]
    assert loop.variable == "x"
    literal = next(node for node in expression.syntax.walk() if isinstance(node, syntax.Literal))
    assert expression.text[expression.syntax.positions[literal.id] :].startswith("'/é'")
    assert not expression.constant
    assert compiled("[1, 2].size() == 2").constant
    assert not compiled("lists.range(9999).all(x, lists.range(9999).all(y, true))").constant
    assert not compiled("rand.int() == 1").constant


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_variable_compiles_with_its_type(name: str) -> None:
    assert compiled(name).variables == {name}
    assert compiled(name).type == variables()[name].type


def test_no_function_is_declared_twice() -> None:
    seen = [(function.name, function.method, function.parameters) for function in functions()]
    assert len(seen) == len(set(seen))
    assert not {function.name for function in functions()} & set(STANDARD)


WORDS = st.sampled_from(
    [
        *"()[]{}.,?:!+-*/%<>=&|'\" \n",
        *("==", "&&", "||", " in ", "req.url.path", "req.headers", "'a'", "1", "1.5", "true", "has(", "size(", "null"),
        *(
            ".exists(x, ",
            ".map(x, ",
            "x",
            "vars.a",
            "1u",
            "b'x'",
            "r'\\d'",
            ".matches(",
            "json.encode(",
            "duration('1s')",
        ),
        *("getReqHeader('a')", "time.now", "['a', 1]", "{'a': 1}", "${", "}", "//", "é", "\\u00e9"),
    ]
)


@given(st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=40))
def test_no_expression_raises_anything(text: str) -> None:
    found = compile_expression(text)
    if isinstance(found, Expression):
        evaluate(found, VALUES)
        for phase in Phase:
            for fault in check_expression(found, phase):
                assert 0 <= fault.offset <= len(text)
    else:
        assert found
        assert all(0 <= fault.offset <= len(text) and fault.text for fault in found)
