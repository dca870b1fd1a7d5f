from pathlib import Path

import pytest

from portico.edge.limit_settings import usual_memory_mib
from portico.edge.settings_sources import load_settings
from portico.model.errors import SETTING_INVALID, PorticoError
from portico.model.limits import VisitorLimits


def test_the_defaults_are_those_of_the_model() -> None:
    settings = load_settings({}, {})
    assert settings.visitor_limits() == VisitorLimits()
    assert settings.max_connections == 50_000
    assert settings.memory_bytes == usual_memory_mib() << 20


def test_every_limit_reaches_the_model(tmp_path: Path) -> None:
    path = tmp_path / "edge.yml"
    path.write_text(
        "max_memory_mib: 128\nmax_http2_streams: 1\nmax_stream_resets: 2\nstream_resets_per_second: 3\n"
        "max_header_kib: 4\nmax_header_count: 5\nmax_body_mib: 6\nmax_requests_per_connection: 7\n"
        "max_connection_seconds: 8\nheader_seconds: 9\nrequest_seconds: 10\nkeepalive_seconds: 11\n"
        "reading_seconds: 12.5\n"
    )
    settings = load_settings({"config": str(path)}, {})
    assert settings.memory_bytes == 128 << 20
    assert settings.visitor_limits() == VisitorLimits(
        header_kib=4,
        headers=5,
        body_bytes=6 << 20,
        streams=1,
        stream_resets=2,
        stream_resets_per_second=3,
        requests_per_connection=7,
        connection_seconds=8,
        header_seconds=9,
        request_seconds=10,
        keepalive_seconds=11,
        reading_seconds=12.5,
    )


@pytest.mark.parametrize("name", ["max_memory_mib", "request_seconds", "idle_seconds", "max_body_mib"])
def test_what_may_be_off_is_off_in_yaml_and_on_the_command_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "edge.yml"
    path.write_text(f"{name}: off\n")
    for settings in (load_settings({"config": str(path)}, {}), load_settings({name: "off"}, {})):
        assert getattr(settings, name) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_connections", "0"),
        ("max_connections", "off"),
        ("max_memory_mib", "1"),
        ("header_seconds", "off"),
        ("header_seconds", "0"),
        ("max_header_kib", "9000"),
        ("max_body_mib", "-1"),
        ("request_seconds", "nan"),
    ],
)
def test_a_limit_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(PorticoError) as caught:
        load_settings({name: value}, {})
    assert caught.value.code is SETTING_INVALID
    assert caught.value.message.startswith("--" + name.replace("_", "-"))
