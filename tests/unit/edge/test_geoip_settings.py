from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.geoip import databases, write_database
from portico.edge.geoip_settings import parse_databases
from portico.edge.settings_sources import load_settings
from portico.model.errors import SETTING_INVALID, PorticoError
from portico.model.geoip import GeoDatabases


def test_files_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    known = databases(tmp_path)
    files = [known.anonymous, known.city, known.asn]
    assert parse_databases(files) == parse_databases(",".join(files)) == parse_databases(known) == known


@pytest.mark.parametrize("kind", ["GeoIP2-Country", "DBIP-Country-Lite"])
def test_countries_alone(tmp_path: Path, kind: str) -> None:
    file = write_database(tmp_path / "any.mmdb", kind, {"192.0.2.0/24": {"country": {"iso_code": "DE"}}})
    assert parse_databases([str(file)]) == GeoDatabases(country=str(file))


def test_a_relative_path_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = databases(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert parse_databases("asn.mmdb") == GeoDatabases(asn=known.asn)


def test_a_file_that_is_away_or_damaged_is_named(tmp_path: Path) -> None:
    known = Path(databases(tmp_path).city)
    half = tmp_path / "half.mmdb"
    half.write_bytes(known.read_bytes()[: known.stat().st_size // 2])
    text = tmp_path / "text.mmdb"
    text.write_text("no database")
    for wrong, words in (
        (tmp_path / "away.mmdb", "No such file"),
        (half, "damaged"),
        (text, "damaged"),
        (tmp_path, "damaged"),
    ):
        with pytest.raises(ValueError, match=f"{wrong}.*{words}"):
            parse_databases([str(wrong)])


def test_two_of_a_kind_and_kinds_that_nobody_reads(tmp_path: Path) -> None:
    known = databases(tmp_path)
    with pytest.raises(ValueError, match="both city databases"):
        parse_databases([known.city, known.city])
    other = write_database(tmp_path / "domain.mmdb", "GeoIP2-Domain", {"192.0.2.0/24": {"domain": "a.test"}})
    with pytest.raises(ValueError, match="'GeoIP2-Domain'"):
        parse_databases([str(other)])


@pytest.mark.parametrize("wrong", [None, 7, {}, "", [7], ["\0"]])
def test_what_is_no_list_of_files(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"give a list of files|not a path|cannot be read"):
        parse_databases(wrong)


@given(st.binary(max_size=300))
def test_any_file_is_a_database_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "any.mmdb"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"any\.mmdb"):
        parse_databases([str(file)])


def test_the_edge_does_not_start_with_a_file_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(PorticoError) as caught:
        load_settings({"geoip_databases": str(tmp_path / "away.mmdb")}, {})
    assert caught.value.code is SETTING_INVALID
    assert "away.mmdb" in caught.value.message
