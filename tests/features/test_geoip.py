"""Databases of addresses at a whole edge: read, asked for in vain, and away when the settings are read anew."""

import signal
from pathlib import Path

import pytest

import portico
from kit.edge import RunningEdge, running_edge
from kit.geoip import databases
from kit.polling import eventually
from kit.visit import visit
from kit.web_service import web_service
from kit.whole_lines import records
from portico.model.errors import NOT_SERVED, SETTING_INVALID, PorticoError


def forwarded(edge: RunningEdge, service: int, told: str) -> portico.Listener:
    policy = {"on_http_request": [{"actions": [{"type": "add-headers", "config": {"headers": {"x-told": told}}}]}]}
    return portico.forward(
        service,
        authtoken=edge.authtoken,
        connect_url=edge.connect_url,
        connect_cas=str(edge.ca),
        traffic_policy=policy,
    )


def test_policies_read_what_the_edge_has(tmp_path: Path) -> None:
    known = databases(tmp_path)
    with (
        running_edge(tmp_path, "--geoip-databases", known.asn) as edge,
        web_service() as service,
        forwarded(edge, service, "${conn.client_ip.as.organization}") as listener,
    ):
        assert visit(edge, listener.url(), "/headers").json()["x-told"] == "Test Net"
        with pytest.raises(PorticoError, match="no city database") as caught:
            forwarded(edge, service, "${conn.geo.city}")
        assert caught.value.code.number == NOT_SERVED.number
        Path(known.asn).unlink()
        edge.process.send_signal(signal.SIGHUP)
        refused = eventually(lambda: [one for one in records(edge.log) if one.get("code") == str(SETTING_INVALID)])
        assert known.asn in refused[0]["reason"]
        assert visit(edge, listener.url(), "/headers").json()["x-told"] == "Test Net"
