import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.policy.template import Hole, parse_template


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("",)),
        ("plain $ {text}", ("plain $ {text}",)),
        ("${a}", (Hole(2, "a"),)),
        ("x ${a} y ${b}", ("x ", Hole(4, "a"), " y ", Hole(11, "b"))),
        ("${ {'a': 1}['a'] }!", (Hole(2, " {'a': 1}['a'] "), "!")),
        ("${'}'}", (Hole(2, "'}'"),)),
        ('${"\\"}"}', (Hole(2, '"\\"}"'),)),
        ("${r'\\'}}", (Hole(2, "r'\\'"), "}")),
        ("${'''it's }'''}", (Hole(2, "'''it's }'''"),)),
    ],
)
def test_holes(text: str, parts: tuple[str | Hole, ...]) -> None:
    assert parse_template(text).parts == parts


@pytest.mark.parametrize("text", ["${", "a ${b", "${'}", "${{}", "${'''}'"])
def test_an_open_hole_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no closing brace"):
        parse_template(text)


@given(st.text(alphabet="${}'\"\\ra .", max_size=30))
def test_parts_make_the_text_again(text: str) -> None:
    try:
        parts = parse_template(text).parts
    except ValueError:
        return
    assert "".join(part if isinstance(part, str) else f"${{{part.text}}}" for part in parts) == text
    for part in parts:
        assert isinstance(part, str) or text.startswith(part.text, part.offset)


def test_secrets_do_not_show() -> None:
    template = parse_template("hunter2 ${a}", hidden=True)
    assert "hunter2" not in f"{template} {template!r}"
