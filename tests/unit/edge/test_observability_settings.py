from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.observability_settings import parse_collector
from portico.edge.settings_sources import load_settings
from portico.model.errors import SETTING_INVALID, PorticoError
from portico.model.observability import AccessLog, LogForm, Tracing


def written(path: Path, text: str) -> dict[str, str | None]:
    path.write_text(text)
    return {"config": str(path)}


def test_all_of_it_is_off_by_default() -> None:
    settings = load_settings({}, {})
    assert settings.access_log_rules() is None
    assert settings.tracing_rules() is None
    assert settings.endpoint_metrics is None


def test_an_access_log_goes_to_standard_output_or_to_a_file(tmp_path: Path) -> None:
    assert load_settings({"access_log": "json"}, {}).access_log_rules() == AccessLog(LogForm.JSON)
    text = "access_log: text\naccess_log_file: access.log\naccess_log_query: on\n"
    settings = load_settings(written(tmp_path / "edge.yml", text), {})
    assert settings.access_log_rules() == AccessLog(LogForm.TEXT, str(tmp_path / "access.log"), query=True)
    text = "access_log: off\naccess_log_file: stdout\n"
    assert load_settings(written(tmp_path / "edge.yml", text), {}).access_log_rules() is None


@pytest.mark.parametrize("file", ["no/such/directory/access.log", "."])
def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path, file: str) -> None:
    with pytest.raises(PorticoError, match="cannot be written") as caught:
        load_settings({"access_log_file": str(tmp_path / file)}, {})
    assert caught.value.code is SETTING_INVALID


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("http://otel:4318", Tracing("otel", 4318, grpc=False, tls=False, path="/v1/traces", percent=100)),
        ("https://otel/in", Tracing("otel", 4318, grpc=False, tls=True, path="/in", percent=100)),
        ("grpc://otel", Tracing("otel", 4317, grpc=True, tls=False, path="/v1/traces", percent=100)),
        ("grpcs://10.0.0.5:443/", Tracing("10.0.0.5", 443, grpc=True, tls=True, path="/v1/traces", percent=100)),
    ],
)
def test_a_collector_is_given_as_a_url(url: str, known: Tracing) -> None:
    assert load_settings({"tracing_endpoint": url}, {}).tracing_rules() == known


def test_what_a_collector_is_shown_is_secret(tmp_path: Path) -> None:
    text = (
        "tracing_endpoint: http://otel\ntracing_percent: 5\ntracing_join: off\ntracing_headers: {authorization: s3}\n"
    )
    rules = load_settings(written(tmp_path / "edge.yml", text), {}).tracing_rules()
    assert rules is not None
    assert (rules.percent, rules.join, rules.headers) == (5, False, (("authorization", "s3"),))
    assert "s3" not in repr(rules)
    with pytest.raises(PorticoError) as caught:
        load_settings(written(tmp_path / "edge.yml", "tracing_headers: {authorization: [s3]}\n"), {})
    assert "s3" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["otel:4317", "ftp://otel", "http://", "http://user:word@otel", "grpc://otel/path", "http://otel:0", "http://["],
)
def test_what_is_no_collector_is_refused(url: str) -> None:
    with pytest.raises(PorticoError, match="collector"):
        load_settings({"tracing_endpoint": url}, {})


@given(st.text())
def test_any_text_is_a_collector_or_told_to_be_none(text: str) -> None:
    try:
        parse_collector(text)
    except ValueError as error:
        assert "collector" in str(error)
