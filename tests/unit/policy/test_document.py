import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.model.errors import BIND_INVALID, PorticoError
from portico.policy.document import MAX_TEXT, read_actions
from portico.policy.terminate_tls import terminate_tls

YAML = """
on_tcp_connect:
  - name: modern
    actions:
      - type: terminate-tls
        config:
          min_version: "1.3"
"""


def test_yaml_json_and_objects_say_the_same() -> None:
    (action,) = read_actions(YAML)
    assert (action.phase, action.type, action.place) == (
        "on_tcp_connect",
        "terminate-tls",
        "on_tcp_connect[0].actions[0]",
    )
    assert (action.config, action.conditional) == ({"min_version": "1.3"}, False)
    rule = {"actions": [{"type": "terminate-tls", "config": {"minVersion": "1.3"}}]}
    assert read_actions({"onTcpConnect": [rule]}) == [action]
    json = '{"on_tcp_connect":[{"actions":[{"type":"terminate-tls","config":{"min_version":"1.3"}}]}]}'
    assert read_actions(json) == [action]


@pytest.mark.parametrize(
    "policy", ["", "{}", "on_http_request: []", {"on_http_request": None}, "enabled: false\n" + YAML]
)
def test_nothing_is_said(policy: str | dict[str, object]) -> None:
    assert read_actions(policy) == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{", "neither JSON nor YAML"),
        ("- a", "no object of phases"),
        ("on_tcp_connect: {a: b}", "no list of rules"),
        ("on_tcp_connect: [a]", "on_tcp_connect[0] is no object"),
        ("on_tcp_connect: [{}]", "on_tcp_connect[0] has no list of actions"),
        ("on_tcp_connect: [{action: []}]", "did you mean actions?"),
        ("on_tcp_connect: [{actions: [{config: {}}]}]", "actions[0] has no type"),
        ("on_tcp_connect: [{actions: [{type: x, config: 1}]}]", "config is no object"),
        ("on_tcp_connect: [{actions: [{type: x, config: {a_b: 1, aB: 2}}]}]", "a_b twice"),
        ("on_tcp_connect: [{actions: [{type: x}], expressions: [1]}]", "expressions is no list"),
        ("{1: []}", "a key that is no text"),
        ("a: &a [b]\nc: *a", "alias"),
        ("a" * (MAX_TEXT + 1), "longer than"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(policy: str, words: str) -> None:
    with pytest.raises(PorticoError) as refused:
        read_actions(policy)
    assert refused.value.code is BIND_INVALID
    assert words in refused.value.message


NAMES = st.sampled_from(["on_tcp_connect", "actions", "type", "config", "terminate-tls", "min_version", "expressions"])
VALUES = st.recursive(
    NAMES | st.text(max_size=9) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES | st.text(max_size=60))
def test_no_policy_raises_anything_else(policy: object) -> None:
    with contextlib.suppress(PorticoError):
        terminate_tls(read_actions(policy if isinstance(policy, str | dict) else {"on_tcp_connect": policy}))
