import json
from collections.abc import Collection

import pytest

from portico.edge.policy_data import names_ip_policies, with_ip_policies
from portico.model.ip_rules import IpRules
from portico.policy.document import read_policy

RULES = {
    "ipp_1": IpRules(("10.0.0.0/8",), ("10.1.0.0/16",)),
    "ipp_deny": IpRules((), ("192.0.2.0/24",)),
}


def networks_of(ids: Collection[str]) -> IpRules:
    found = [RULES[ident] for ident in ids if ident in RULES]
    return IpRules(sum((one.allowed for one in found), ()), sum((one.denied for one in found), ()))


def resolved(**config: object) -> dict[str, object]:
    action = {"type": "restrict-ips", "config": config}
    other = {"type": "custom-response", "config": {"status_code": 200, "body": "ip_policies"}}
    text = json.dumps({"on_http_request": [{"expressions": ["true"], "actions": [action, other]}]})
    assert names_ip_policies(text)
    found = with_ip_policies(text, networks_of)
    assert read_policy(found).problems == []
    (rule,) = json.loads(found)["on_http_request"]
    assert (rule["expressions"], rule["actions"][1]) == (["true"], other)
    result: dict[str, object] = rule["actions"][0]["config"]
    return result


@pytest.mark.parametrize("key", ["ip_policies", "ipPolicies"])
def test_the_networks_stand_in_place_of_the_ids(key: str) -> None:
    assert resolved(**{key: ["ipp_1", "ipp_deny"], "allow": ["198.51.100.0/24"], "enforce": True}) == {
        "allow": ["198.51.100.0/24", "10.0.0.0/8"],
        "deny": ["10.1.0.0/16", "192.0.2.0/24"],
        "enforce": True,
    }


@pytest.mark.parametrize("ident", ["ipp_none", "ipp_deny"])
def test_nobody_is_let_in_by_one_that_is_gone_or_allows_nothing(ident: str) -> None:
    assert resolved(ip_policies=[ident]) == {"allow": [], "deny": ["0.0.0.0/0", "::/0"]}


def test_other_restrictions_stay_as_they_are() -> None:
    assert resolved(allow=["10.0.0.0/8"]) == {"allow": ["10.0.0.0/8"]}
