import io
import json
import sys
from pathlib import Path

import pytest

from portico.cli.main import run

POLICY = """
on_http_request:
  - name: door
    expressions: ["req.url.path.startsWith('/admin')"]
    actions:
      - {type: basic-auth, config: {credentials: ["joe:secret-password"]}}
"""
WRONG = "on_http_request:\n  - actions: [{type: deni}]\n"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yml"
    path.write_text(POLICY)
    return str(path)


def test_a_valid_policy_exits_with_0(policy: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", policy]) == 0
    said = capfd.readouterr().out
    assert f"{policy} is a valid traffic policy" in said
    assert "refuse" not in said


def test_a_valid_policy_that_no_edge_takes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yml"
    path.write_text("on_http_request: [{actions: [{type: verify-webhook, config: {provider: sns, secret: hunter22}}]}]")
    assert run(["policy", "check", str(path)]) == 0
    said = capfd.readouterr().out
    assert "edges of this release refuse it: this edge cannot verify webhooks of sns" in said
    assert "hunter22" not in said


def test_an_invalid_one_exits_with_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yml"
    path.write_text(WRONG)
    assert run(["policy", "check", str(path)]) == 1
    assert f"{path}:2:16: error: on_http_request[0].actions[0].type" in capfd.readouterr().out
    assert run(["policy", "check", str(path), "--format", "json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["valid"], found["problems"][-1]["line"], found["problems"][-1]["column"]) == (False, 2, 16)
    assert run(["policy", "explain", str(path), "--request", "https://a.example/"]) == 1
    assert "PORTICO_20069" in capfd.readouterr().err


def test_json_explains_and_hides_secrets(policy: str, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["policy", "explain", policy, "--request", "POST https://a.example/admin", "--format", "json"]
    assert run(asked) == 0
    said = capfd.readouterr().out
    found = json.loads(said)
    assert (found["status"], found["ending"]["kind"], found["assumed"]) == (401, "response", False)
    assert found["rules"][0]["actions"][0]["type"] == "basic-auth"
    assert "secret-password" not in said


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(POLICY))
    assert run(["policy", "check", "-"]) == 0
    assert "standard input" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--request", "nope"], 2, "https://host/path"),
        (["--request", "GET /path"], 2, "https://host/path"),
        (["--request", "https://a.example:0/"], 2, "https://host/path"),
        (["--request", "tcp://a.example"], 2, "tcp://host:port"),
        (["--request", "https://[/"], 2, "https://host/path"),
        (["--request", "G=T https://a.example/"], 2, "a method and a URL"),
        (["--request", "GET https://a.example/", "--method", "POST"], 2, "different methods"),
        (["--request", "https://a.example/", "-H", "nope"], 2, "NAME:VALUE"),
        (["--request", "https://a.example/", "--client-ip", "nope"], 2, "no IP address"),
        (["--request", "https://a.example/", "--response", "99"], 2, "--response"),
        (["--request", "https://a.example/", "--json", "nope.json"], 1, "does not exist"),
        ([], 2, "--request"),
    ],
)
def test_wrong_requests(
    policy: str, arguments: list[str], status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "explain", policy, *arguments]) == status
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("[]", "no JSON object"),
        ("{", "no JSON object"),
        ('{"conn": {"nope": 1}}', "no variable conn.nope"),
        ('{"attempts": 1}', "no variable attempts"),
        ('{"conn": {"ts": {"start": "yesterday"}}}', "is a time"),
    ],
)
def test_wrong_facts(policy: str, tmp_path: Path, facts: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "facts.json"
    path.write_text(facts)
    assert run(["policy", "explain", policy, "--request", "https://a.example/", "--json", str(path)]) == 2
    assert words in capfd.readouterr().err


def test_facts_win(policy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "facts.json"
    path.write_text('{"req": {"url": {"path": "/admin"}}, "conn": {"ts": {"start": "2026-01-02T00:00:00Z"}}}')
    assert run(["policy", "explain", policy, "--request", "https://a.example/", "--json", str(path)]) == 0
    assert "the visitor gets 401" in capfd.readouterr().out


def test_no_such_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", "/nope.yml"]) == 1
    assert "Check the path of the traffic policy" in capfd.readouterr().err


def test_no_file_of_facts_is_not_told_as_no_policy(policy: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", policy, "--request", "https://a.example/", "--json", "/nope.json"]) == 1
    assert "Check the path of the variables (--json)" in capfd.readouterr().err


def test_without_the_library_the_extra_is_named(
    policy: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from portico.policy import expressions

    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    forgotten = (expressions._compiled, expressions._environment)
    for cached in forgotten:
        cached.cache_clear()
    assert run(["policy", "check", policy]) == 1
    assert "pip install 'portico[policy]'" in capfd.readouterr().err
    for cached in forgotten:
        cached.cache_clear()
