from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.node import Node
from portico.edge.settings import reference_rows
from portico.edge.settings_sources import load_settings
from portico.edge.settings_values import parse_database
from portico.model.errors import SETTING_INVALID, PorticoError

SECRET = "very-secret"
URL = f"postgresql://portico:{SECRET}@db.example:5432/portico?sslmode=verify-full"


def problem(environment: dict[str, str]) -> str:
    with pytest.raises(PorticoError) as caught:
        load_settings({}, environment)
    assert caught.value.code is SETTING_INVALID
    assert SECRET not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    return caught.value.message


def test_the_store_is_a_file_where_nothing_is_said() -> None:
    assert load_settings({}, {}).database_url is None


def test_the_url_comes_from_the_environment_or_the_file_and_shows_nowhere(tmp_path: Path) -> None:
    (tmp_path / "edge.yml").write_text(f"database: {URL}\n")
    for settings in (
        load_settings({}, {"PORTICO_EDGE_DATABASE": URL}),
        load_settings({"config": str(tmp_path / "edge.yml")}, {}),
    ):
        assert settings.database_url == URL
        assert SECRET not in f"{settings!r} {settings}"
    assert SECRET not in repr(Node.__dataclass_fields__["database"])
    assert not Node.__dataclass_fields__["database"].repr


def test_a_file_may_hold_the_url(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL.replace("postgresql", "postgres") + "\n")
    (tmp_path / "edge.yml").write_text("database_file: url\n")
    assert load_settings({"config": str(tmp_path / "edge.yml")}, {}).database_url == URL
    assert load_settings({}, {"PORTICO_EDGE_DATABASE_FILE": str(tmp_path / "url")}).database_url == URL
    assert "No such file" in problem({"PORTICO_EDGE_DATABASE_FILE": str(tmp_path / "gone")})
    both = {"PORTICO_EDGE_DATABASE": URL, "PORTICO_EDGE_DATABASE_FILE": str(tmp_path / "url")}
    assert "keep one" in problem(both)


def test_what_is_secret_is_no_flag() -> None:
    rows = {row.name: row for row in reference_rows()}
    for name in ("database", "database_file"):
        assert rows[name].flag is None
        assert rows[name].env == f"PORTICO_EDGE_{name.upper()}"
        assert rows[name].key == name


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"mysql://a:{SECRET}@db/portico", "the database is a URL"),
        (f"host=db password={SECRET}", "the database is a URL"),
        (f"postgresql://a:{SECRET}@db", "names no database"),
        (f"postgresql://a:{SECRET}@db/", "names no database"),
        (f"postgresql://a:{SECRET}/x@db/portico", "the database is a URL"),
        (f"postgresql://a:{SECRET}@db:x/portico", "the database is a URL"),
        (f"postgresql://a:{SECRET}@[db/portico", "the database is a URL"),
    ],
)
def test_what_is_no_url_is_refused_without_a_word_of_it(url: str, reason: str) -> None:
    assert reason in problem({"PORTICO_EDGE_DATABASE": url})


@given(st.one_of(st.text(), st.integers(), st.from_regex(r"postgres(ql)?://[^/]*(:[^@]*@)?[^/]*/\w*", fullmatch=True)))
def test_any_value_is_taken_or_refused(value: object) -> None:
    try:
        parsed = parse_database(value)
    except ValueError as error:
        assert "the database is a URL" in str(error) or "names no database" in str(error)
    else:
        assert parsed.get_secret_value().startswith("postgresql://")
