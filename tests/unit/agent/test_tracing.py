import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.agent.tracing import collector_url, open_traces
from portico.model.errors import OPTION_INVALID, TRACING_EXTRA_MISSING, PorticoError

NAMED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://otel.internal", "http://otel.internal:4318/v1/traces"),
        ("https://otel.internal:443/", "https://otel.internal:443/v1/traces"),
        ("http://[::1]:4318/own/path", "http://[::1]:4318/own/path"),
        ("off", "off"),
        ("", ""),
    ],
)
def test_where_spans_go(written: str, url: str) -> None:
    assert collector_url(written) == url


@pytest.mark.parametrize(
    "wrong",
    ["grpc://a:4317", "a:4318", "http://", "http://a:0", "http://a:x", "http://u:p@a", "http://a?k=v", "http://a#f"],
)
def test_what_is_no_collector(wrong: str) -> None:
    with pytest.raises(PorticoError) as caught:
        collector_url(wrong)
    assert caught.value.code is OPTION_INVALID
    assert "http://HOST:4318" in str(caught.value.fix)


@given(st.text())
def test_any_text_is_a_collector_or_refused(text: str) -> None:
    try:
        assert collector_url(text).startswith(("http://", "https://", "off")) or not text
    except PorticoError as error:
        assert error.code is OPTION_INVALID


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**NAMED, "OTEL_SDK_DISABLED": "TRUE"},
        {**NAMED, "OTEL_TRACES_EXPORTER": "none"},
        {**NAMED, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_nothing_is_traced_unless_asked_for(environment: dict[str, str]) -> None:
    assert open_traces("", environment) is None
    assert open_traces("off", NAMED) is None


def test_a_protocol_that_is_not_spoken_is_named(caplog: pytest.LogCaptureFixture) -> None:
    open_traces("", {**NAMED, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"})
    assert "grpc" in caplog.records[0].__dict__["reason"]


async def test_the_environment_is_enough() -> None:
    traces = open_traces("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"})
    assert traces is not None
    await traces.close()


@pytest.mark.usefixtures("not_installed")
def test_who_asks_for_what_is_not_installed_is_told_what_to_install() -> None:
    with pytest.raises(PorticoError) as caught:
        open_traces("http://127.0.0.1:4318")
    assert caught.value.code is TRACING_EXTRA_MISSING
    assert "pip install 'portico[otel]'" in str(caught.value.fix)


@pytest.mark.usefixtures("not_installed")
def test_what_the_environment_asks_for_in_vain_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert open_traces("", NAMED) is None
    assert "opentelemetry" in caplog.records[0].__dict__["reason"]
