import logging

import pytest

import portico
from portico import PorticoError


@pytest.mark.parametrize("level", ["ERROR", "warn", "INFO", "DEBUG", "TRACE"])
def test_log_levels(level: str) -> None:
    logger = logging.getLogger("portico")
    before = logger.level
    portico.log_level(level)
    assert logger.level > 0
    logger.setLevel(before)


def test_a_log_level_that_is_none() -> None:
    with pytest.raises(PorticoError, match="loud"):
        portico.log_level("loud")


@pytest.mark.parametrize("server", [object(), 5, type("Server", (), {"server_address": ("x",)})()])
def test_servers_that_are_none(server: object) -> None:
    with pytest.raises(PorticoError, match="server_address"):
        portico.listen(server)


def test_an_edge_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTICO_CONNECT_URL", raising=False)
    with pytest.raises(PorticoError, match="connect_url"):
        portico.forward(8080, authtoken="t")
    with pytest.raises(PorticoError, match="connect_url"):
        portico.listen(authtoken="t")
