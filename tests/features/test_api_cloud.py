"""Cloud and internal endpoints of a real edge, made and changed by ngrok's official API client, served by Envoy."""

import contextlib
import json
import os
import signal
import ssl
from collections.abc import Iterator

import pytest

import portico
from kit.edge import RunningEdge
from kit.ngrok_api import OfficialClient, OfficialError, official_client
from kit.polling import eventually
from kit.service import http_service
from kit.visitor import Visitor
from portico.model.errors import PorticoError


@pytest.fixture(scope="module")
def visitor(edge: RunningEdge) -> Visitor:
    return Visitor(edge.ca)


@pytest.fixture(scope="module")
def client(edge: RunningEdge) -> Iterator[OfficialClient]:
    with official_client(edge, (edge.data_dir / "api-key").read_text().strip()) as running:
        yield running


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


def policy(*actions: tuple[str, dict[str, object]]) -> str:
    rule = {"actions": [{"type": kind, "config": config} for kind, config in actions]}
    return json.dumps({"on_http_request": [rule]})


def saying(text: str) -> tuple[str, dict[str, object]]:
    return "custom-response", {"status_code": 200, "body": text}


def made(
    client: OfficialClient, host: str, *actions: tuple[str, dict[str, object]], **fields: object
) -> dict[str, str]:
    endpoint: dict[str, str] = client(
        "endpoints", "create", url=f"https://{host}", type="cloud", traffic_policy=policy(*actions), **fields
    )
    return endpoint


def test_one_answers_follows_its_changes_and_ends(client: OfficialClient, visitor: Visitor) -> None:
    endpoint = made(client, "cloud.example.com", saying("first"), description="d")
    assert endpoint["type"] == "cloud"
    assert visitor.get(endpoint["url"]) == (200, "first")
    assert client("endpoints", "get", id=endpoint["id"]) == endpoint
    assert client("endpoints", "list", filter="obj.type == 'cloud' && obj.description == 'd'") == [endpoint]
    changed = client("endpoints", "update", id=endpoint["id"], traffic_policy=policy(saying("second")))
    assert visitor.get(endpoint["url"]) == (200, "second")
    moved = client("endpoints", "update", id=endpoint["id"], url="https://moved.example.com")
    assert visitor.get(moved["url"]) == (200, "second")
    assert visitor.get(endpoint["url"])[0] == 404
    assert changed["id"] == moved["id"]
    client("endpoints", "delete", id=endpoint["id"])
    assert visitor.get(moved["url"])[0] == 404


def test_wrong_policies_and_taken_names_are_refused(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor
) -> None:
    with pytest.raises(OfficialError, match="traffic_policy: 1:") as caught:
        made(client, "wrong.example.com", ("custm-response", {}))
    assert (caught.value.status, caught.value.code) == (400, "PORTICO_20069")
    endpoint = made(client, "taken.example.com", saying("cloud"))
    with pytest.raises(OfficialError) as caught:
        made(client, "taken.example.com", saying("again"))
    assert caught.value.code == "ERR_NGROK_334"
    with pytest.raises(PorticoError, check=lambda error: error.code.number == 334):
        portico.forward(
            service,
            authtoken=edge.authtoken,
            connect_url=edge.connect_url,
            connect_cas=str(edge.ca),
            domain="taken.example.com",
        )
    portico.kill()
    assert visitor.get(endpoint["url"]) == (200, "cloud")
    client("endpoints", "delete", id=endpoint["id"])


def test_only_policies_reach_an_internal_one(client: OfficialClient, edge: RunningEdge, visitor: Visitor) -> None:
    inside = made(client, "search.internal", saying("inside"), bindings=["internal"])
    assert (inside["url"], inside["bindings"]) == ("https://search.internal", ["internal"])
    front = made(client, "front.example.com", ("forward-internal", {"url": "https://search.internal"}))
    assert visitor.get(front["url"]) == (200, "inside")
    with contextlib.suppress(ssl.SSLError):  # nor is there a certificate for it
        assert visitor.get(f"https://search.internal:{edge.https_port}")[0] in (404, 421)
    for endpoint in (front, inside):
        client("endpoints", "delete", id=endpoint["id"])


def test_restrict_ips_follows_the_rules_of_its_ip_policy(client: OfficialClient, visitor: Visitor) -> None:
    group = client("ip_policies", "create")["id"]
    endpoint = made(client, "guarded.example.com", ("restrict-ips", {"ip_policies": [group]}), saying("in"))
    assert visitor.get(endpoint["url"])[0] == 403
    rule = client("ip_policy_rules", "create", ip_policy_id=group, cidr="127.0.0.0/8", action="allow")
    assert visitor.get(endpoint["url"]) == (200, "in")
    client("ip_policy_rules", "create", ip_policy_id=group, cidr="127.0.0.1", action="deny")
    assert visitor.get(endpoint["url"])[0] == 403
    client("ip_policy_rules", "delete", id=rule["id"])
    client("endpoints", "delete", id=endpoint["id"])


def test_a_policy_reads_a_secret_and_follows_it(client: OfficialClient, visitor: Visitor) -> None:
    vault = client("vaults", "create", name="of-policies")["id"]
    endpoint = made(client, "secret.example.com", saying("${secrets.get('of-policies', 'word')}"))
    assert visitor.get(endpoint["url"])[0] != 200  # there is none yet
    secret = client("secrets", "create", name="word", value="first", vault_id=vault)
    assert visitor.get(endpoint["url"]) == (200, "first")
    client("secrets", "update", id=secret["id"], value="second")
    assert visitor.get(endpoint["url"]) == (200, "second")
    assert "secrets.get" in client("endpoints", "get", id=endpoint["id"])["traffic_policy"]
    assert "second" not in json.dumps(client("endpoints", "list"))
    client("endpoints", "delete", id=endpoint["id"])


def test_an_agent_s_policy_reads_a_secret(
    client: OfficialClient, edge: RunningEdge, visitor: Visitor, service: int
) -> None:
    asked = {"server_addr": edge.connect_url, "root_cas": str(edge.ca), "authtoken": edge.authtoken}
    told = policy(("add-headers", {"headers": {"x-word": "${secrets.get('of-agents', 'word')}"}}), saying("hush"))
    told = told.replace('"hush"', json.dumps("${secrets.get('of-agents', 'word')}"))
    with pytest.raises(PorticoError, match="secrets that are not there: of-agents/word"):
        portico.forward(service, traffic_policy=told, **asked)
    vault = client("vaults", "create", name="of-agents")["id"]
    secret = client("secrets", "create", name="word", value="a-hushed-word", vault_id=vault)
    listener = portico.forward(service, traffic_policy=told, **asked)
    assert visitor.get(listener.url()) == (200, "a-hushed-word")
    client("secrets", "update", id=secret["id"], value="another-hushed-word")
    assert visitor.get(listener.url()) == (200, "another-hushed-word")
    assert "hushed" not in json.dumps(client("endpoints", "list"))
    client("secrets", "delete", id=secret["id"])
    assert visitor.get(listener.url())[0] >= 400
    listener.close()
    assert "hushed" not in edge.log.read_text()


def test_it_is_online_again_after_control_was_killed(
    client: OfficialClient, edge: RunningEdge, visitor: Visitor
) -> None:
    endpoint = made(client, "lasting.example.com", saying("lasting"))
    old = edge.child("control")
    os.kill(old, signal.SIGKILL)
    assert visitor.get(endpoint["url"]) == (200, "lasting")
    eventually(lambda: edge.child("control") != old)
    eventually(lambda: visitor.get(f"https://api.localhost:{edge.https_port}/healthz")[0] == 200)
    assert visitor.get(endpoint["url"]) == (200, "lasting")
    assert client("endpoints", "get", id=endpoint["id"]) == endpoint
    client("endpoints", "update", id=endpoint["id"], traffic_policy=policy(saying("changed")))
    assert visitor.get(endpoint["url"]) == (200, "changed")
    client("endpoints", "delete", id=endpoint["id"])
