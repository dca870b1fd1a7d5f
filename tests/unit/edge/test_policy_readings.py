"""How often the text of a policy is read on its way from a door to Envoy's configuration."""

import json
from collections import Counter
from pathlib import Path

import pytest

from portico.api.policy_text import check_policy_text
from portico.edge.endpoint_policy import endpoint_policy
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import Endpoint, EndpointUrl, HostPort, Scheme
from portico.policy import document
from portico.policy.check import check_policy
from portico.policy.text import PolicyText, read_text
from portico.translate.endpoints import endpoint_resources


def test_each_text_is_read_once_from_the_door_to_envoy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two texts: what the owner wrote, and the one that his endpoint is served by."""
    read: Counter[str] = Counter()

    def counted(policy: object) -> PolicyText:
        read[str(policy)] += 1
        return read_text(policy)  # type: ignore[arg-type]

    monkeypatch.setattr(document, "read_text", counted)
    rule = {"expressions": ["req.url.path == '/once'"], "actions": [{"type": "deny"}]}
    written = json.dumps({"on_http_request": [rule]}, indent=1)
    check_policy_text(written, "traffic_policy")
    text = endpoint_policy([written], Scheme.HTTPS).text
    here = SocketAddress("127.0.0.1", 443)
    frame = EdgeFrame("edge.test", here, here, "127.0.0.1", (), "api.sock", "x-mark", policy_script=str(tmp_path / "p"))
    address = HostPort("127.0.0.1", 1)
    endpoint_resources(Endpoint(EndpointUrl.parse("https://a.edge.test"), (address,), traffic_policy=text), frame)
    assert read == {written: 1, text: 1}


def test_what_is_found_wrong_is_told_whoever_asks_again() -> None:
    text = json.dumps({"on_http_request": [{"expressions": ["nobody.knows == 1"], "actions": [{"type": "deny"}]}]})
    first, second = check_policy(text)[1], check_policy(text)[1]
    assert first
    assert first == second
