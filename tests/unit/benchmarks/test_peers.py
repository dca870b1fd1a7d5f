"""What the peers are told: their own files and command lines, for the same forwards."""

import tomllib
from pathlib import Path

import pytest
import yaml
from benchmarks.comparison import Record
from benchmarks.peers import bore, build, chisel, frp, openssh, portico, rathole, run, services
from benchmarks.peers.build import Found, Missing
from benchmarks.peers.contenders import CONTENDERS, LEADS
from benchmarks.peers.run import ALONE, SHARED, WORKS
from benchmarks.peers.tunnel import Forward, tcp_target
from benchmarks.peers.unit import QUICK

KEY_PAIR = Path("server.pem"), Path("server.key")
FORWARDS = [Forward("small", 8080, 21_001), Forward("secure", 8443, 21_002)]


def test_frp_gets_tls_with_a_checked_certificate_and_keeps_its_other_defaults() -> None:
    server = tomllib.loads(frp.server_config("127.0.0.1", 7000, None, KEY_PAIR))
    agent = tomllib.loads(frp.agent_config("127.0.0.1", 7000, Path("ca.pem"), FORWARDS, http=False))
    assert server["transport"] == {"tls": {"certFile": "server.pem", "keyFile": "server.key"}}
    assert agent["transport"] == {"tls": {"enable": True, "serverName": "edge.test", "trustedCaFile": "ca.pem"}}
    assert agent["auth"] == server["auth"]
    assert [(each["type"], each["localPort"], each["remotePort"]) for each in agent["proxies"]] == [
        ("tcp", 8080, 21_001),
        ("tcp", 8443, 21_002),
    ]


def test_frp_http_goes_by_host_and_passes_tls_by_its_name() -> None:
    server = tomllib.loads(frp.server_config("127.0.0.1", 7000, (7080, 7443), KEY_PAIR))
    agent = tomllib.loads(frp.agent_config("127.0.0.1", 7000, Path("ca.pem"), FORWARDS, http=True))
    assert (server["vhostHTTPPort"], server["vhostHTTPSPort"]) == (7080, 7443)
    assert [(each["type"], each["customDomains"]) for each in agent["proxies"]] == [
        ("http", ["small.edge.test"]),
        ("https", ["secure.edge.test"]),
    ]


def test_rathole_speaks_tls_and_both_sides_know_the_services() -> None:
    server = tomllib.loads(rathole.server_config("127.0.0.1", 2333, Path("identity.pfx"), FORWARDS))["server"]
    agent = tomllib.loads(rathole.agent_config("127.0.0.1", 2333, Path("ca.pem"), FORWARDS))["client"]
    assert server["transport"]["type"] == agent["transport"]["type"] == "tls"
    assert server["default_token"] == agent["default_token"]
    assert server["services"] == {
        "small": {"bind_addr": "127.0.0.1:21001"},
        "secure": {"bind_addr": "127.0.0.1:21002"},
    }
    assert agent["services"]["secure"] == {"local_addr": "127.0.0.1:8443"}


def test_command_lines_carry_the_same_forwards() -> None:
    assert chisel.remotes(FORWARDS[:1]) == ["R:127.0.0.1:21001:127.0.0.1:8080"]
    assert openssh.remotes(FORWARDS[:1]) == ["-R", "127.0.0.1:21001:127.0.0.1:8080"]
    words = bore.local(FORWARDS[0], "127.0.0.1")
    assert words[0] == "8080"
    assert words[words.index("--port") + 1] == "21001"


def test_sshd_has_keys_and_an_address_of_its_own() -> None:
    text = openssh.server_config("127.0.0.1", 2222, Path("/keys"), Path("/readable"))
    assert "ListenAddress 127.0.0.1:2222\nHostKey /keys/host\n" in text
    assert "AuthorizedKeysFile /readable/authorized_keys\n" in text
    assert "PasswordAuthentication no\n" in text


@pytest.mark.parametrize(
    ("kind", "urls"),
    [
        ("tcp", ["tcp://edge.test:21001", "tcp://edge.test:21002"]),
        ("http", ["http://small.edge.test", "https://secure.edge.test"]),
        ("tls", ["tls://small.edge.test", "tls://secure.edge.test"]),
    ],
)
def test_our_own_agent_gets_endpoints_in_its_file(kind: portico.Kind, urls: list[str]) -> None:
    written = yaml.safe_load(portico.agent_config(kind, FORWARDS))
    assert [each["url"] for each in written["endpoints"]] == urls
    assert written["endpoints"][0]["upstream"]["url"].endswith("://127.0.0.1:8080")


def test_the_service_listens_where_visitors_without_a_tunnel_come_too(tmp_path: Path) -> None:
    text = services.nginx_config(tmp_path, ["127.0.0.1", "198.18.0.2"], KEY_PAIR, 8080, 8443)
    assert "listen 198.18.0.2:8080" in text
    assert "listen 127.0.0.1:8443 ssl" in text


def test_visitors_of_a_port_keep_the_name_of_the_service() -> None:
    assert tcp_target(FORWARDS[1]).url == "https://secure.edge.test:21002"


def test_a_peer_that_cannot_be_had_is_named_with_the_reason() -> None:
    def absent() -> Found:
        raise Missing("there is no cargo to build it with")

    found = build.programs({"rathole": absent, "bore": lambda: Found("1.0", {"bore": Path("bore")})})
    assert found.missing == {"rathole": "there is no cargo to build it with"}
    assert found.paths == {"bore": Path("bore")}
    assert found.versions["bore"] == "1.0"


def test_names_are_one_each_and_leads_name_contenders() -> None:
    names = [each.named.name for each in CONTENDERS]
    assert len(set(names)) == len(names)
    assert {name for lead in LEADS for name in (lead.ours, *lead.others)} <= set(names)
    works = [work.name for work in WORKS]
    assert len(set(works)) == len(works)
    assert {work.name for unit in SHARED for work in unit.works} <= set(works)
    assert {work.name for works_of, _ in ALONE.values() for work in works_of} <= set(works)


def test_a_work_that_cannot_be_done_here_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def no_namespaces(*_: object) -> None:
        raise RuntimeError("network namespaces need root")

    works = {"wide": ((), no_namespaces), "returning": ((), lambda *_: done.append("returning"))}
    monkeypatch.setattr(run, "ALONE", works)
    absent = run.run(None, (), QUICK, ("wide", "returning"), Record())  # type: ignore[arg-type]
    assert absent == {"wide": "network namespaces need root"}
    assert done == ["returning"]
