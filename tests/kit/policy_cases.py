"""Small policies and requests to them, drawn by hypothesis."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from kit.policies import rule
from portico.policy.request import Visit

PATHS: Final = ("/", "/a", "/a/b", "/admin", "/admin/", "/a%20b", "/%C3%A9", "/a.b", "/A", "/a//b", "/a;b=c")
QUERIES: Final = ("", "?", "?a", "?a=1", "?a=1&a=2", "?b=%20&a=x+y", "?a=%C3%A9&", "?=b")
HEADERS: Final = (
    ("x-a", "1"),
    ("X-A", "two"),
    ("x-empty", ""),
    ("x-list", "a, b"),
    ("cookie", "c=1; d=two"),
    ("user-agent", "curl/8"),
    ("accept", "text/html"),
    ("content-type", "application/json; charset=utf-8"),
    ("authorization", "Basic bWU6cGFzc3dvcmQx"),
    ("authorization", "Basic !"),
)
TEXTS: Final = (
    "req.method",
    "req.url.path",
    "req.url.raw_path",
    "req.url.query",
    "req.url",
    "req.url.uri",
    "req.user_agent",
    "req.content_type",
    "req.headers['x-a'][0]",
    "getReqHeader('x-list')[0]",
    "getQueryParam('a')[0]",
    "getReqCookie('c').value",
    "vars.v",
    "conn.client_ip",
    "req.host",
    "req.url.path.lowerAscii()",
    "req.url.path.replace('a', 'bb')",
    "req.url.path.split('/')[1]",
    "string(size(req.url.query_params))",
)
TRUTHS: Final = (
    "true",
    "hasReqHeader('x-a')",
    "'x-empty' in req.headers",
    "hasQueryParam('a')",
    "hasReqCookie('d')",
    "has(vars.v)",
    "req.url.query_params.size() > 1",
    "req.method in ['GET', 'HEAD']",
    "req.url.path.matches('^/a(/|$)')",
    "inCidrRange(conn.client_ip, '127.0.0.0/8')",
    "req.headers.exists(n, n.startsWith('x-'))",
    "getReqHeader('x-a').all(v, v != '1')",
    "req.content_length > 3",
    "actions.ngrok.basic_auth.credentials.authorized",
    "actions.ngrok.restrict_ips.action == 'allow'",
    "timestamp(time.now).getFullYear() > 2000",
    "req.url.port == 443",
)
FOR_RESPONSES: Final = (
    "res.status_code >= 400",
    "hasResHeader('x-own')",
    "res.headers['x-own'][0] == '1'",
    "res.content_type == 'text/plain'",
)

_word = st.sampled_from(["/a", "1", "GET", "two", "", "a b", "é", "x"])
_comparison = st.builds(
    lambda text, operator, word: f"{text} {operator} {json.dumps(word, ensure_ascii=False)}",
    st.sampled_from(TEXTS),
    st.sampled_from(["==", "!=", "<", ">="]),
    _word,
)


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["&&", "||"])
    two = st.builds(lambda one, operator, other: f"({one} {operator} {other})", inner, operators, inner)
    return two | inner.map(lambda one: f"!({one})")


expressions = st.recursive(_comparison | st.sampled_from(TRUTHS), _joined, max_leaves=3)
_template = st.lists(_word | st.sampled_from(TEXTS).map("${{{}}}".format), min_size=1, max_size=3).map("".join)
_name = st.sampled_from(["x-a", "x-b", "x-list", "accept", "x-own"])
_line = _template.map(lambda text: text.replace("é", "e"))


def _action(kind: str, **config: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries(config).map(lambda found: (kind, found))


ADD = _action("add-headers", headers=st.dictionaries(_name, _line, min_size=1, max_size=2))
REMOVE = _action("remove-headers", headers=st.lists(_name, min_size=1, max_size=2, unique=True))
LOG = _action("log", metadata=st.fixed_dictionaries({"said": _template}))
VARS = _action("set-vars", vars=st.lists(st.fixed_dictionaries({"v": _template}), min_size=1, max_size=2))
CUSTOM = _action("custom-response", status_code=st.sampled_from([200, 404, 418, 503]), body=_template)
requests = st.one_of(
    ADD,
    REMOVE,
    LOG,
    VARS,
    CUSTOM,
    _action("deny", status_code=st.sampled_from([400, 403, 451])),
    _action("redirect", to=st.sampled_from(["/new", "https://other.test/x?y", "${req.url}#", "/n${req.url.path}"])),
    st.builds(
        lambda kind, ways: (kind, {"from": ways[0], "to": ways[1]}),
        st.sampled_from(["redirect", "url-rewrite"]),
        st.sampled_from(
            [
                ("/a(/.*)?$", "/new$1"),
                ("/([a-z]+)", "/${1}1"),
                ("^(https://[^/]*)/.*$", "$1/all?was=$0"),
                ("a=([0-9])", "b=$1"),
                ("${req.method}", "x"),
                ("//", "//"),
            ]
        ),
    ),
    _action("basic-auth", credentials=st.just(["me:password1"]), enforce=st.booleans()),
    _action("restrict-ips", allow=st.sampled_from([["127.0.0.0/8"], ["10.0.0.0/8"]]), enforce=st.booleans()),
    st.just(("forward-internal", {"url": "https://inner.internal"})),
)
responses = ADD | REMOVE | LOG | VARS | CUSTOM
connections = st.one_of(
    LOG,
    _action("restrict-ips", allow=st.sampled_from([["127.0.0.0/8"], ["10.0.0.0/8"]]), enforce=st.booleans()),
    st.just(("deny", {})),
)


def _rules(
    actions: st.SearchStrategy[Any], when: st.SearchStrategy[str], most: int
) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.builds(
        lambda acts, conditions: rule(*acts, when=conditions),
        st.lists(actions, min_size=1, max_size=2),
        st.lists(when, max_size=2),
    )
    return st.lists(one, max_size=most)


policies = st.fixed_dictionaries(
    {
        "on_tcp_connect": _rules(connections, st.sampled_from(["conn.client_ip != ''", "conn.client_port > 0"]), 1),
        "on_http_request": _rules(requests, expressions, 4),
        "on_http_response": _rules(responses, expressions | st.sampled_from(FOR_RESPONSES), 2),
    }
)
visits = st.builds(
    lambda method, path, query, headers, body, status, answered: Visit(
        url=f"https://HOST{path}{query}",
        method=method,
        headers=list(dict(headers).items()),
        client_ip="127.0.0.1",
        body=body if method in ("POST", "PUT") else None,
        status=status,
        response_headers=answered,
    ),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
    st.lists(st.sampled_from(HEADERS), max_size=4),
    st.sampled_from(["", "body"]),
    st.sampled_from([200, 201, 404, 500]),
    st.lists(st.sampled_from([("x-own", "1"), ("content-type", "text/plain"), ("x-own", "2")]), max_size=2),
)
