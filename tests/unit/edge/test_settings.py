from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.settings import EdgeSettings, reference_rows
from portico.edge.settings_sources import load_settings, settings_options
from portico.edge.settings_values import PortRange
from portico.model.edge import SocketAddress
from portico.model.errors import CONFIG_MISSING, SETTING_INVALID, PorticoError

SECRET = "a-secret-token-of-an-owner"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(flags: dict[str, str | None], environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(PorticoError) as caught:
        load_settings(flags, environment or {})
    assert caught.value.code is SETTING_INVALID
    return caught.value.message.splitlines()


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = written(tmp_path / "edge.yml", text)
    return [line.replace(f"{path}:", "edge.yml:") for line in problems({"config": str(path)})]


def test_with_nothing_given_every_setting_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data/home")
    monkeypatch.setattr("portico.edge.settings._is_root", lambda: False)
    settings = load_settings({}, {})
    assert settings.domain == "localhost"
    assert settings.https_addr == SocketAddress("0.0.0.0", 8443)
    assert settings.http_addr == SocketAddress("0.0.0.0", 8080)
    assert settings.tcp_ports == PortRange(20_000, 20_999)
    assert settings.admin_addr == SocketAddress("127.0.0.1", 4041)
    assert settings.data_dir == Path("/data/home/portico/edge")
    assert settings.envoy_concurrency >= 1


def test_root_gets_the_well_known_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.edge.settings._is_root", lambda: True)
    settings = load_settings({}, {})
    assert (settings.https_addr.port, settings.http_addr and settings.http_addr.port) == (443, 80)


def test_a_relative_xdg_data_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert load_settings({}, {}).data_dir == Path("/home/ann/.local/share/portico/edge")


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    config = str(written(tmp_path / "edge.yml", "domain: file.example\nrelays: 2\nmax_sessions: 7\n"))
    environment = {"PORTICO_EDGE_DOMAIN": "env.example", "PORTICO_EDGE_RELAYS": "3", "PORTICO_EDGE_CONFIG": config}
    settings = load_settings({"domain": "flag.example", "relays": None}, environment)
    assert (settings.domain, settings.relays, settings.max_sessions) == ("flag.example", 3, 7)
    assert settings.max_endpoints == EdgeSettings().max_endpoints


def test_an_empty_variable_counts_as_none() -> None:
    assert load_settings({}, {"PORTICO_EDGE_DOMAIN": ""}).domain == "localhost"


def test_owners_and_endpoints_come_from_the_file(tmp_path: Path) -> None:
    written(tmp_path / "token", f"{SECRET}\n")
    text = f"""
http_addr: off
owners:
  - name: ann
    authtoken: {SECRET}1
    domains: [Ann.Example, "*.ann.example"]
    max_endpoints: 3
  - {{name: bob, authtoken_file: token}}
  - {{name: default, max_sessions: 9}}
endpoints:
  - url: https://labelled.example
    labels: {{team: web, shard: 1}}
"""
    settings = load_settings({"config": str(written(tmp_path / "edge.yml", text))}, {})
    ann, bob, default = (owner.declared() for owner in settings.owners)
    assert (ann.authtoken, ann.domains, ann.max_endpoints) == (f"{SECRET}1", ("ann.example", "*.ann.example"), 3)
    assert bob.authtoken == SECRET
    assert (default.authtoken, default.max_sessions) == (None, 9)
    assert str(settings.endpoints[0].url) == "https://labelled.example"
    assert settings.endpoints[0].labels == {"team": "web", "shard": "1"}
    assert settings.http_addr is None


def test_relative_paths_of_the_file_start_at_the_file(tmp_path: Path) -> None:
    config = str(written(tmp_path / "edge.yml", "data_dir: state\n"))
    assert load_settings({"config": config}, {}).data_dir == tmp_path / "state"
    assert load_settings({"config": config, "data_dir": "state"}, {}).data_dir == Path("state")


def test_all_errors_are_reported_at_once_each_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path / "edge.yml", "domian: a.example\nrelays: many\nmax_sessions: 0\n")
    environment = {"PORTICO_EDGE_LOG_LEVEL": "loud", "PORTICO_EDGE_TCP_PRTS": "1-2"}
    lines = problems({"config": str(path), "https_addr": "nowhere"}, environment)
    assert set(lines) == {
        "PORTICO_EDGE_TCP_PRTS: there is no such setting; did you mean 'PORTICO_EDGE_TCP_PORTS'?",
        "--https-addr: 'nowhere' is not an address: write IP:PORT, such as 0.0.0.0:8443",
        "PORTICO_EDGE_LOG_LEVEL: input should be 'debug', 'info', 'warning' or 'error', not 'loud'",
        f"{path}:1: domian: there is no such key; did you mean 'domain'?",
        f"{path}:2: relays: input should be a valid integer, unable to parse string as an integer, not 'many'",
        f"{path}:3: max_sessions: input should be greater than or equal to 1, not 0",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("owners:\n  - name: Bad Name\n    authtoken: x234567890123456", "edge.yml:2: owners[0].name: 'Bad Name'"),
        ("owners:\n  - name: ann\n    authtoken: short", "edge.yml:3: owners[0].authtoken: an authtoken has 16 to"),
        (
            "owners:\n  - name: ann\n    authtoken: 12345678901234567",
            "edge.yml:3: owners[0].authtoken: an authtoken is",
        ),
        ("owners:\n  - name: ann", "edge.yml:2: owners[0]: owner 'ann' has no token"),
        ("owners:\n\n  - name: ann\n    domians: []", "domians: there is no such key; did you mean 'domains'?"),
        ("owners:\n  - authtoken: x234567890123456", "edge.yml:2: owners[0].name: this key is missing"),
        ("owners: {ann: 1}", "edge.yml:1: owners: this has to be a list"),
        ("owners:\n  - ann", "edge.yml:2: owners[0]: this has to be an object"),
        ("owners:\n  - {name: ann, authtoken_file: gone}", "gone': No such file or directory"),
        ("endpoints:\n  - url: htp://a\n    labels: {a: b}", "edge.yml:2: endpoints[0].url: 'htp://a' has no scheme"),
        ("endpoints:\n  - url: http://a\n    labels: {}", "edge.yml:3: endpoints[0].labels: give at least one label"),
        ("domain: a\ndomain: b", "edge.yml:2: domain is given twice"),
        ("config: other.yml", "edge.yml:1: 'config' cannot stand in the file itself"),
        ("domain: '*.a.example'", "edge.yml:1: domain: '*.a.example' is a wildcard"),
        ("domain: 10.0.0.1", "edge.yml:1: domain: '10.0.0.1' is an IP address"),
        ("https_addr: 8443", "edge.yml:1: https_addr: 8443 is not an address: write IP:PORT"),
        ("tcp_ports: 30-20", "edge.yml:1: tcp_ports: the range 30-20 runs backwards"),
        ("heartbeat_interval_min: 500", "heartbeat_interval_min is greater than heartbeat_interval_max"),
        ("heartbeat_tolerance_min: 500", "heartbeat_tolerance_min is greater than heartbeat_tolerance_max"),
        ("drain_seconds: .inf", "edge.yml:1: drain_seconds: input should be"),
        ("a: [", "edge.yml:2: did not find expected node content"),
        ("- a", "edge.yml:1: the file must be a mapping"),
        ("1: a", "edge.yml:1: 1: there is no such key"),
        ("a: &x [*x]", "edge.yml:1: nested too deeply"),
        ("? [a]\n: b", "edge.yml:1: a key must be a word"),
        ("\x00", "edge.yml: control characters are not allowed"),
        ("domain: !!python/name:os.system x", "edge.yml:1: domain: the YAML tag"),
    ],
)
def test_each_error_of_the_file_names_its_line(tmp_path: Path, text: str, line: str) -> None:
    assert any(line in problem for problem in problems_of(tmp_path, text)), problems_of(tmp_path, text)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (f"name: ann, authtoken: {SECRET}2", "owner 'ann' is declared twice"),
        (f"name: bob, authtoken: {SECRET}", "two owners have the same authtoken"),
        (f"name: bob, authtoken: {SECRET}2, domains: [A.example]", "domain 'a.example' is reserved twice"),
        (f"name: bob, authtoken: {SECRET}2, authtoken_file: x", "cannot read"),
    ],
)
def test_owners_exclude_each_other(tmp_path: Path, second: str, message: str) -> None:
    text = f"owners:\n  - {{name: ann, authtoken: {SECRET}, domains: [a.example]}}\n  - {{{second}}}\n"
    lines = problems_of(tmp_path, text)
    assert any(message in line for line in lines)
    assert SECRET not in "".join(lines)


def test_a_token_comes_from_one_place_and_is_checked_there(tmp_path: Path) -> None:
    written(tmp_path / "token", SECRET)
    written(tmp_path / "short", "short-secret")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    both = f"owners:\n  - {{name: ann, authtoken: {SECRET}2, authtoken_file: token}}\n"
    assert problems_of(tmp_path, both) == [
        "edge.yml:2: owners[0]: owner 'ann' has both authtoken and authtoken_file; keep one"
    ]
    for name, reason in (("short", "an authtoken has 16 to 1000 characters"), ("binary", "it is not text")):
        (line,) = problems_of(tmp_path, f"owners:\n  - {{name: ann, authtoken_file: {name}}}\n")
        assert line.endswith(reason)
        assert "short-secret" not in line


def test_a_url_is_declared_once(tmp_path: Path) -> None:
    text = "endpoints:\n  - {url: http://a, labels: {x: y}}\n  - {url: HTTP://A, labels: {x: z}}\n"
    assert problems_of(tmp_path, text) == ["edge.yml:1: endpoints: http://a is declared twice"]


def test_a_missing_or_unreadable_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(PorticoError) as caught:
        load_settings({"config": str(tmp_path / "gone.yml")}, {})
    assert caught.value.code is CONFIG_MISSING
    with pytest.raises(PorticoError, match="cannot be read: Is a directory"):
        load_settings({"config": str(tmp_path)}, {})
    (tmp_path / "latin.yml").write_bytes(b"domain: \xff")
    assert problems({"config": str(tmp_path / "latin.yml")}) == [f"{tmp_path / 'latin.yml'}: not UTF-8 at byte 8"]


def test_an_empty_file_is_a_file_without_settings(tmp_path: Path) -> None:
    assert load_settings({"config": str(written(tmp_path / "edge.yml", "# nothing\n"))}, {}).domain == "localhost"


def test_variables_that_kubernetes_makes_for_a_service_are_no_settings() -> None:
    environment = {
        "PORTICO_EDGE_SERVICE_HOST": "10.0.0.1",
        "PORTICO_EDGE_SERVICE_PORT_HTTPS": "443",
        "PORTICO_EDGE_PORT": "tcp://10.0.0.1:443",
        "PORTICO_EDGE_PORT_443_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings({}, environment).domain == "localhost"


@given(st.text(max_size=200))
def test_any_file_is_settings_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, "utf-8", errors="replace")
    try:
        load_settings({"config": str(path)}, {})
    except PorticoError as error:
        assert error.code is SETTING_INVALID


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([row.name for row in reference_rows() if "[" not in row.name]), VALUES)
def test_any_value_of_any_key_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    import yaml

    path = tmp_path_factory.getbasetemp() / "value.yml"
    path.write_text(yaml.safe_dump({name: value}), "utf-8", errors="replace")
    try:
        load_settings({"config": str(path)}, {})
    except PorticoError as error:
        assert error.code is SETTING_INVALID


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    path = written(tmp_path / "edge.yml", f"owners:\n  - {{name: ann, authtoken: {SECRET}}}\n")
    settings = load_settings({"config": str(path)}, {})
    assert SECRET not in f"{settings!r} {settings} {settings.owners[0].declared()!r}"
    for wrong in (f"owners: [{SECRET}]", f"owners: {SECRET}", f"owners:\n - name: a\n   authtoken: ['{SECRET}']"):
        assert SECRET not in "".join(problems_of(tmp_path, wrong))
    for wrong in (
        f"owners:\n - name: a\n   authtoken: '{SECRET} x'",
        f"owners:\n - {{name: a, max_sessions: {SECRET}}}",
    ):
        assert SECRET not in "".join(problems_of(tmp_path, wrong))


def test_the_flags_of_a_command_are_made_from_the_settings() -> None:
    received: dict[str, str | None] = {}

    @click.command()
    @settings_options()
    def command(**flags: str | None) -> None:
        received.update(flags)

    result = CliRunner().invoke(command, ["--domain", "a.example", "--http-addr", "off", "--tcp-ports=1-2"])
    assert result.exit_code == 0
    given = {name: value for name, value in received.items() if value is not None}
    assert given == {"domain": "a.example", "http_addr": "off", "tcp_ports": "1-2"}
    assert load_settings(received, {}).tcp_ports == PortRange(1, 2)
    help_text = CliRunner().invoke(command, ["--help"]).output
    assert all(row.flag in help_text for row in reference_rows() if row.flag)


def test_the_reference_has_every_setting_with_all_its_names() -> None:
    rows = {row.name: row for row in reference_rows()}
    assert set(EdgeSettings.model_fields) <= set(rows)
    https = rows["https_addr"]
    assert (https.flag, https.env, https.key) == ("--https-addr", "PORTICO_EDGE_HTTPS_ADDR", "https_addr")
    assert rows["config"].key is None
    assert (rows["owners"].flag, rows["owners"].env, rows["owners[].name"].key) == (None, None, "owners[].name")
    assert all(row.description and row.type and row.default for row in rows.values())
