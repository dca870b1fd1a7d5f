"""What the checker found, read from the tree that it hands out."""

import pytest

from portico.policy.expressions import Expression, compile_expression


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", "int"),
        ("1u", "uint"),
        ("1.5", "double"),
        ("'a'", "string"),
        ("b'a'", "bytes"),
        ("true", "bool"),
        ("null", "null"),
        ("vars", "map<string, dyn>"),
        ("vars.a", "dyn"),
        ("vars.a + 1", "int"),
        ("vars.a + vars.b", "dyn"),
        ("req.headers", "map<string, list<string>>"),
        ("req.headers['a']", "list<string>"),
        ("[[1.5], []]", "list<list<double>>"),
        ("[1, 'a']", "list<dyn>"),
        ("[1].map(a, string(a))", "list<string>"),
        ("timestamp(0)", "timestamp"),
        ("duration('1s')", "duration"),
        ("type(1)", "type"),
        ("int", "type"),
    ],
)
def test_each_node_has_its_type(text: str, kind: str) -> None:
    found = compile_expression(text)
    assert isinstance(found, Expression)
    assert found.syntax.types[found.syntax.tree.id] == kind
