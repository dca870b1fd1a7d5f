"""Files to one document: versions, merging, everything wrong at once, and no text that breaks the reader."""

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.cli.config.document import load, validate
from portico.cli.config.endpoints import entry_forwardings, named_entries
from portico.cli.config.models import AgentKeys, Document, Tunnel
from portico.cli.config.upgrade import upgraded
from portico.cli.config.writing import with_agent_key
from portico.model.errors import CONFIG_INVALID, CONFIG_MISSING, PorticoError
from portico.yaml_source import parse


def document(*texts: str) -> Document:
    return validate([parse(text, f"{number}.yml") for number, text in enumerate(texts, 1)])


def problems(*texts: str) -> list[str]:
    with pytest.raises(PorticoError) as caught:
        document(*texts)
    assert caught.value.code is CONFIG_INVALID
    return caught.value.message.splitlines()


def test_version_2_and_3_say_the_same() -> None:
    two = document("version: 2\nserver_addr: a:1\nroot_cas: host\nlog_level: debug\nweb_addr: false\n")
    three = document("version: 3\nagent: {connect_url: 'a:1', connect_cas: host, log_level: debug, web_addr: false}\n")
    assert two.agent == three.agent
    assert two.agent.web_addr == "false"


def test_every_key_of_the_agent_is_read() -> None:
    values = {
        "authtoken": "t",
        "api_key": "k",
        "connect_url": "e:443",
        "connect_cas": "host",
        "connect_interface": "eth0",
        "connect_timeout": "30s",
        "console_ui": "true",
        "console_ui_color": "black",
        "crl_noverify": "true",
        "crl_url": "http://x",
        "dns_resolver_ips": ["1.1.1.1"],
        "heartbeat_interval": "1m",
        "heartbeat_tolerance": "1m30s",
        "inspect_db_size": "-1",
        "log": "/tmp/log",
        "log_format": "json",
        "log_level": "warn",
        "metadata": "m",
        "proxy_url": "http://p",
        "region": "eu",
        "remote_management": "false",
        "tracing_endpoint": "http://otel.internal:4318",
        "update_channel": "beta",
        "update_check": "false",
        "web_addr": "127.0.0.1:4444",
        "web_allow_hosts": [".example.com"],
    }
    assert set(values) == set(AgentKeys.known)
    read = document(yaml.safe_dump({"version": 3, "agent": values})).agent
    assert (read.connect_timeout, read.heartbeat_tolerance, read.inspect_db_size) == (30.0, 90.0, -1)
    assert (read.crl_noverify, read.remote_management, read.console_ui) == (True, False, "true")


def test_secrets_do_not_show() -> None:
    read = document("version: 2\nauthtoken: geheim\ntunnels: {a: {proto: http, addr: 1, basic_auth: ['u:geheim']}}\n")
    assert "geheim" not in repr(read)


def test_text_is_not_guessed_at() -> None:
    read = document("version: 3\nagent: {authtoken: 12_34, metadata: 2024-01-01, log: no, tracing_endpoint: off}\n")
    assert read.agent.authtoken is not None
    assert read.agent.authtoken.reveal() == "12_34"
    assert (read.agent.metadata, read.agent.log, read.agent.tracing_endpoint) == ("2024-01-01", "false", "off")


def test_a_tunnel_may_be_named_as_a_policy() -> None:
    for name in ("policy", "traffic_policy"):
        assert document(f"version: 2\ntunnels: {{{name}: {{proto: http, addr: 8080}}}}\n").tunnels[name].addr == "8080"


def test_a_traffic_policy_keeps_its_types() -> None:
    text = "version: 2\ntunnels: {a: {traffic_policy: {x: [1, 2.5, true, null, '3', .nan]}}}\n"
    policy = document(text).tunnels["a"].traffic_policy
    assert policy == {"x": [1, 2.5, True, None, "3", ".nan"]}


def test_later_files_win_key_by_key_and_replace_lists() -> None:
    merged = document(
        "version: 3\nagent: {authtoken: a, web_allow_hosts: [x, y]}\n"
        "endpoints: [{name: a, upstream: {url: 1}}]\ntunnels: {t: {addr: 1, proto: http}}\n",
        "version: 3\nagent: {connect_url: 'b:1', web_allow_hosts: [z]}\ntunnels: {t: {addr: 2}, u: {addr: 3}}\n",
        "version: 3\nagent:\nendpoints: [{name: b, upstream: {url: 2}}]\n",
    )
    assert merged.agent.connect_url == "b:1"
    assert merged.agent.authtoken is not None
    assert merged.agent.web_allow_hosts == ("z",)
    assert [endpoint.name for endpoint in merged.endpoints] == ["b"]
    assert merged.tunnels["t"] == Tunnel(addr="2", proto="http")
    assert set(merged.tunnels) == {"t", "u"}


def test_versions_mix() -> None:
    merged = document("version: 2\nserver_addr: a:1\n", "version: 3\nagent: {authtoken: t}\n")
    assert merged.agent.connect_url == "a:1"


def test_anchors_and_merge_keys() -> None:
    text = "version: 2\ntunnels:\n  a: &base {proto: http, addr: 80}\n  b:\n    <<: *base\n    addr: 81\n"
    assert document(text).tunnels["b"] == Tunnel(proto="http", addr="81")


def test_problems_name_the_file_and_line_of_the_key() -> None:
    assert problems("version: 3\nagent:\n  log: x\n", "version: 3\n\nagent:\n  log_level: loud\n  webaddr: 1\n") == [
        "2.yml:4: agent.log_level: must be debug, info, warn, error or crit",
        "2.yml:5: agent.webaddr: unknown key; did you mean web_addr?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("authtoken: x", "1.yml:1: version: is missing; add `version: 3`"),
        ("version: 1", "1.yml:1: version: must be 2 or 3"),
        ("version: 3\nversion: 3", "1.yml:2: version is given twice"),
        ("version: 3\n? [a]\n: 1", "1.yml:2: a key must be a word"),
        ("version: 3\nagent: text", "1.yml:2: agent: must be a mapping of keys to values"),
        (
            "version: 3\nagent: {log: !!binary aGk=}",
            "1.yml:2: agent.log: the YAML tag tag:yaml.org,2002:binary has no meaning here",
        ),
        ("version: 3\n<<: text", "1.yml:2: << takes a mapping, or a list of mappings"),
        ("version: 3\nendpoints: {a: 1}", "1.yml:2: endpoints: must be a list"),
        ("version: 3\nendpoints: [{name: a}]", "1.yml:2: endpoints[0].upstream: is missing"),
        ("version: 3\nagent: {log: [a]}", "1.yml:2: agent.log: must be text"),
        ("version: 3\nagent: {inspect_db_size: big}", "1.yml:2: agent.inspect_db_size: must be a whole number"),
        ("version: 3\nagent: {heartbeat_interval: 0s}", "1.yml:2: agent.heartbeat_interval: must be more than nothing"),
        ("version: 2\ntunnels: {a: {circuit_breaker: x}}", "1.yml:2: tunnels.a.circuit_breaker: must be a number"),
        ("version: 2\ntunnels: {a: {compression: 1}}", "1.yml:2: tunnels.a.compression: must be true or false"),
        ("version: 2\ntunnels: {a: {request_header: {add: [x]}}}", "1.yml:2: tunnels.a.request_header.add[0]: must be"),
        ("version: 2\ntunnels: {a: {oauth: {}}}", "1.yml:2: tunnels.a.oauth.provider: is missing"),
        (
            "version: 3\nagent: {update_channel: weekly}",
            "1.yml:2: agent.update_channel: must be stable, beta or unstable",
        ),
        (
            "version: 3\nendpoints: [{name: a, upstream: {url: 1}}]\ntunnels: {a: {}}",
            "1.yml:1: more than one endpoint is",
        ),
    ],
)
def test_problem(text: str, problem: str) -> None:
    [found] = problems(text)
    assert found.startswith(problem)


@pytest.mark.parametrize("text", ["- a", "text", "[", "a: \x01", '"\\UFFFFFFFF": 1', "a: *b", "%YAML 9\n---\na: 1"])
def test_not_a_mapping_or_no_yaml(text: str) -> None:
    with pytest.raises(PorticoError) as caught:
        parse(text, "f.yml")
    assert caught.value.code is CONFIG_INVALID


def test_a_document_that_grows_without_bound_is_refused() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
        for before, after in zip("abcdefg", "bcdefgh", strict=True)
    )
    for text in (bomb, "a: &a [*a]", "[" * 5000, "a: " * 5000):
        with pytest.raises(PorticoError):
            parse(text, "f.yml")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa", b"version: 3\nagent: \xff"])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "portico.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PorticoError) as caught:
        load([file])
    assert caught.value.code is (CONFIG_MISSING if content is None else CONFIG_INVALID)
    with pytest.raises(PorticoError):
        load([tmp_path])


def test_no_file_is_an_empty_document() -> None:
    assert load([]) == Document()
    assert document("") == Document()


_WORDS = st.sampled_from(
    [*AgentKeys.known, *Tunnel.known, "version", "agent", "endpoints", "tunnels", "upstream", "<<"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["2", "3", "10s"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=5), below, max_size=4),
    max_leaves=12,
)


def _survives(text: str) -> None:
    with suppress(PorticoError):
        for name, entry in named_entries(validate([parse(text, "f.yml")])).items():
            with suppress(PorticoError):
                entry_forwardings(name, entry)
    for change in (lambda: upgraded(text, "f.yml"), lambda: with_agent_key(text, "authtoken", "t", "f.yml")):
        with suppress(PorticoError):
            change()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_WORDS, _VALUES, max_size=5), st.sampled_from([2, 3, None]))
def test_any_values_raise_nothing_else(values: dict[str, object], version: int | None) -> None:
    _survives(yaml.safe_dump({**values, **({"version": version} if version else {})}, allow_unicode=True))


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@`?, \n\t<=\\\x00é\U0001f600") | st.characters(), max_size=80)
)
def test_any_text_raises_nothing_else(text: str) -> None:
    _survives(text)
    _survives(f"version: 2\ntunnels:\n  a:\n    {text}")
