from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.api import BASE, Api
from kit.key_pairs import KeyPairs
from portico.model.acme import AutomaticState


async def refusal(api: Api, path: str, body: dict[str, object], **options: str) -> tuple[int, str]:
    answer = await api.send("POST", path, body, **options)
    return answer.status_code, answer.json()["error_code"]


@pytest.mark.parametrize(
    ("asked", "name", "target"),
    [
        ("App.Example.COM.", "app.example.com", "edge.test"),
        ("*.example.com", "*.example.com", "edge.test"),
        ("shop", "shop.edge.test", None),
        ("shop.edge.test", "shop.edge.test", None),
        ("*.edge.test", "*.edge.test", None),
        ("bücher.example", "xn--bcher-kva.example", "edge.test"),
    ],
)
async def test_a_domain_is_reserved_under_its_one_spelling(api: Api, asked: str, name: str, target: str | None) -> None:
    made = await api.make("/reserved_domains", {"domain": asked, "region": "us", "resolves_to": []})
    assert (made["domain"], made["cname_target"]) == (name, target)
    assert api.node.told == [("reservations",)]


@pytest.mark.parametrize("name", ["", "a b", "-x.example", "a..b", "x" * 64 + ".example", "*", "a.*.b"])
async def test_what_is_no_name_is_refused(api: Api, name: str) -> None:
    assert await refusal(api, "/reserved_domains", {"domain": name}) == (400, "PORTICO_20001")


@pytest.mark.parametrize("name", ["edge.test", "api.edge.test", "CONNECT.edge.test", "dashboard"])
async def test_the_edges_own_names_are_refused(api: Api, name: str) -> None:
    assert await refusal(api, "/reserved_domains", {"domain": name}) == (400, "ERR_NGROK_320")


async def test_a_domain_is_reserved_once(api: Api) -> None:
    anna = api.other_owner()
    await api.make("/reserved_domains", {"domain": "app.example.com"})
    await api.make("/reserved_domains", {"domain": "*.wild.example.com"})
    assert await refusal(api, "/reserved_domains", {"domain": "app.example.com"}) == (409, "ERR_NGROK_413")
    for name in ("app.example.com", "x.wild.example.com", "*.example.com"):
        assert await refusal(api, "/reserved_domains", {"domain": name}, key=anna) == (409, "ERR_NGROK_414")
    api.node.online["live.example.com"] = {api.owner_id("default")}
    assert await refusal(api, "/reserved_domains", {"domain": "live.example.com"}, key=anna) == (409, "ERR_NGROK_430")
    assert await refusal(api, "/reserved_domains", {"domain": "*.edge.test"}, key=anna) == (403, "PORTICO_20102")
    assert await refusal(api, "/reserved_domains", {"domain": "*.internal"}, key=anna) == (403, "PORTICO_20102")
    await api.make("/reserved_domains", {"domain": "*.anna.internal"}, key=anna)


async def test_a_certificate_is_attached_detached_and_kept_while_it_is_attached(api: Api, tmp_path: Path) -> None:
    certificate, key = KeyPairs(tmp_path, "CA").issue("app.example.com")
    pem = {"certificate_pem": certificate.read_text(), "private_key_pem": key.read_text()}
    uploaded = await api.make("/tls_certificates", pem)
    wrong = {"domain": "other.example.com", "certificate_id": uploaded["id"]}
    assert await refusal(api, "/reserved_domains", wrong) == (400, "PORTICO_20068")
    unknown = {"domain": "app.example.com", "certificate_id": "cert_unknown"}
    assert await refusal(api, "/reserved_domains", unknown) == (400, "ERR_NGROK_215")
    made = await api.make("/reserved_domains", {"domain": "app.example.com", "certificate_id": uploaded["id"]})
    assert made["certificate"] == {"id": uploaded["id"], "uri": f"{BASE}/tls_certificates/{uploaded['id']}"}
    in_use = await api.send("DELETE", f"/tls_certificates/{uploaded['id']}")
    assert (in_use.status_code, in_use.json()["error_code"]) == (409, "PORTICO_20106")
    assert "app.example.com" in in_use.json()["msg"]
    assert (await api.send("DELETE", f"/reserved_domains/{made['id']}/certificate")).status_code == 204
    assert (await api.send("GET", f"/reserved_domains/{made['id']}")).json()["certificate"] is None
    attached = await api.send("PATCH", f"/reserved_domains/{made['id']}", {"certificate_id": uploaded["id"]})
    assert attached.json()["certificate"]["id"] == uploaded["id"]
    assert (await api.send("DELETE", f"/reserved_domains/{made['id']}")).status_code == 204
    assert (await api.send("DELETE", f"/tls_certificates/{uploaded['id']}")).status_code == 204


async def test_somebody_elses_certificate_is_not_attached(api: Api, tmp_path: Path) -> None:
    certificate, key = KeyPairs(tmp_path, "CA").issue("app.example.com")
    pem = {"certificate_pem": certificate.read_text(), "private_key_pem": key.read_text()}
    uploaded = await api.make("/tls_certificates", pem)
    body = {"domain": "app.example.com", "certificate_id": uploaded["id"]}
    assert await refusal(api, "/reserved_domains", body, key=api.other_owner()) == (400, "ERR_NGROK_215")


async def test_addresses_are_given_out_until_there_are_no_more(api: Api) -> None:
    api.node.online["tcp:20001"] = {"somebody"}
    first = await api.make("/reserved_addrs", {"region": "eu"})
    assert (first["addr"], first["region"]) == ("edge.test:20000", "edge.test")
    assert (await api.make("/reserved_addrs", {"port": 20_003}))["addr"] == "edge.test:20003"
    assert (await api.make("/reserved_addrs"))["addr"] == "edge.test:20002"
    assert await refusal(api, "/reserved_addrs", {}) == (409, "PORTICO_20003")
    assert await refusal(api, "/reserved_addrs", {"port": 20_001}) == (409, "PORTICO_20107")
    assert await refusal(api, "/reserved_addrs", {"port": 20_000}) == (409, "PORTICO_20107")
    assert await refusal(api, "/reserved_addrs", {"port": 80}) == (400, "PORTICO_20002")
    assert await refusal(api, "/reserved_addrs", {"port": 70_000}) == (400, "ERR_NGROK_215")
    assert (await api.send("DELETE", f"/reserved_addrs/{first['id']}")).status_code == 204
    assert (await api.make("/reserved_addrs"))["addr"] == "edge.test:20000"
    assert set(api.node.told) == {("reservations",)}


async def test_a_domain_tells_how_its_automatic_certificate_does(api: Api) -> None:
    soon, later = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 20, tzinfo=UTC)
    failing = AutomaticState(
        "app.example.com", ("app.example.com",), "failing", None, "", "ca: dns: no such name", 3, soon, None
    )
    api.node.automatic["app.example.com"] = failing
    made = await api.make("/reserved_domains", {"domain": "app.example.com"})
    status = made["certificate_management_status"]
    assert status["renews_at"] is None
    assert status["provisioning_job"] == {
        "error_code": "failing",
        "msg": "ca: dns: no such name",
        "started_at": None,
        "retries_at": "2026-12-01T00:00:00Z",
    }
    valid = replace(failing, state="valid", not_after=later, directory="https://ca/dir", failures=0, renews_at=soon)
    api.node.automatic["app.example.com"] = valid
    shown = (await api.send("GET", f"/reserved_domains/{made['id']}")).json()
    assert shown["certificate_management_status"] == {"renews_at": "2026-12-01T00:00:00Z", "provisioning_job": None}
    assert shown["certificate_management_policy"] == {"authority": "https://ca/dir", "private_key_type": "ecdsa"}
    other = await api.make("/reserved_domains", {"domain": "other.example.com"})
    assert other["certificate_management_status"] is None
