import pytest

from kit.api import BASE, Api
from portico.api import ip_policies
from portico.model.ip_rules import IpRules


async def policy_with(api: Api, *rules: tuple[str, str], **options: str) -> str:
    policy: str = (await api.make("/ip_policies", {"description": "office"}, **options))["id"]
    for action, cidr in rules:
        await api.make("/ip_policy_rules", {"ip_policy_id": policy, "action": action, "cidr": cidr}, **options)
    return policy


async def test_rules_belong_to_a_policy_and_policies_see_each_change(api: Api) -> None:
    policy = await policy_with(api)
    rule = await api.make("/ip_policy_rules", {"ip_policy_id": policy, "action": "allow", "cidr": "192.0.2.0/24"})
    assert rule["ip_policy"] == {"id": policy, "uri": f"{BASE}/ip_policies/{policy}"}
    path = f"/ip_policy_rules/{rule['id']}"
    changed = await api.send("PATCH", path, {"cidr": "2001:DB8::/32"})
    assert changed.json() == {**rule, "cidr": "2001:db8::/32"}
    assert (await api.send("DELETE", path)).status_code == 204
    assert api.node.told == [("policy data", api.owner_id("default"), policy)] * 3


async def test_what_several_policies_say_together(api: Api) -> None:
    first = await policy_with(api, ("allow", "10.0.0.0/8"), ("deny", "10.1.0.0/16"))
    second = await policy_with(api, ("allow", "10.0.0.0/8"), ("allow", "192.0.2.7"))
    anna = await policy_with(api, ("allow", "198.51.100.0/24"), key=api.other_owner())
    with api.store.read() as unit:
        rules = unit.ip_policies.networks_of([first, second, anna, "ipp_none"], api.owner_id("default"))
        assert rules == IpRules(("10.0.0.0/8", "192.0.2.7/32"), ("10.1.0.0/16",))
        assert unit.ip_policies.networks_of([], api.owner_id("default")) == IpRules()


async def test_a_policy_takes_its_rules_along(api: Api) -> None:
    policy = await policy_with(api, ("allow", "10.0.0.0/8"))
    assert (await api.send("DELETE", f"/ip_policies/{policy}")).status_code == 204
    assert (await api.send("GET", "/ip_policy_rules")).json()["ip_policy_rules"] == []


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("10.0.0.0/33", "neither an address nor a network"),
        ("example.com", "neither an address nor a network"),
        ("", "neither an address nor a network"),
        ("fe80::1%eth0/64", "neither an address nor a network"),
        ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
        ("::ffff:10.0.0.0/104", "write it as an IPv4 network"),
    ],
)
async def test_wrong_networks_are_refused_with_what_to_write(api: Api, cidr: str, words: str) -> None:
    policy = await policy_with(api)
    answer = await api.send("POST", "/ip_policy_rules", {"ip_policy_id": policy, "action": "deny", "cidr": cidr})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ERR_NGROK_215")
    assert words in answer.json()["msg"]


async def test_a_rule_needs_a_policy_that_its_author_may_see(api: Api) -> None:
    policy = await policy_with(api)
    body = {"ip_policy_id": policy, "action": "allow", "cidr": "10.0.0.0/8"}
    refused = await api.send("POST", "/ip_policy_rules", body, key=api.other_owner())
    assert refused.status_code == 400
    wrong = await api.send("POST", "/ip_policy_rules", {**body, "action": "log"})
    assert wrong.status_code == 400


async def test_the_rules_of_a_policy_have_a_limit(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ip_policies, "MOST_RULES", 1)
    policy = await policy_with(api, ("allow", "10.0.0.0/8"))
    body = {"ip_policy_id": policy, "action": "allow", "cidr": "11.0.0.0/8"}
    answer = await api.send("POST", "/ip_policy_rules", body)
    assert (answer.status_code, answer.json()["error_code"]) == (409, "PORTICO_20112")
