"""What is measured are policies that edges take, each of them once."""

import json

from benchmarks import policies, policy_changes

from portico.edge.endpoint_policy import endpoint_policy
from portico.model.endpoint import Scheme


def test_every_policy_is_one_that_an_edge_takes() -> None:
    measured = policies.policies("http://127.0.0.1:1/keys", "token")
    assert len({each.host for each in measured}) == len({each.name for each in measured}) == len(measured)
    for each in measured[1:]:
        assert endpoint_policy([{"on_http_request": list(each.rules)}], Scheme.HTTP).text
    assert [len(each.rules) for each in measured][:4] == [0, *policies.RULES]


def test_a_change_is_told_by_its_word() -> None:
    written = policy_changes.policy("second", 49)
    assert len(json.loads(written)["on_http_request"]) == 50
    assert "second" in endpoint_policy([written], Scheme.HTTPS).text
