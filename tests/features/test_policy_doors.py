"""Every door at which an owner says what visitors must do or get: flags, files of both versions, Portico's own SDK."""

import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

import portico
from kit.cli import running_agent
from kit.edge import RunningEdge, running_edge
from kit.identity_provider import CLIENT_ID, CLIENT_SECRET, identity_provider
from kit.visit import visit, visit_async
from kit.visitor import Visitor
from kit.web_service import web_service
from kit.websocket_bytes import ask
from portico import PorticoError
from portico.model.errors import BIND_INVALID, NOT_SERVED

HERE, ELSEWHERE = "127.0.0.0/8", "192.0.2.0/24"
TAGGED = {"on_http_response": [{"actions": [{"type": "add-headers", "config": {"headers": {"x-by": "policy"}}}]}]}
LOCAL_ONLY = {"on_tcp_connect": [{"actions": [{"type": "restrict-ips", "config": {"allow": [ELSEWHERE]}}]}]}
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("edge"), "--policy-networks", HERE) as edge:
        yield edge


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with web_service() as port:
        yield port


Check = Callable[[RunningEdge, str], None]


@dataclass(frozen=True)
class Family:
    """One thing to ask for, in the words of each door, and how visitors see that it holds."""

    flags: tuple[str, ...]
    keys: dict[str, Any]
    """Of an entry of `tunnels:`."""
    options: dict[str, Any]
    """Of `portico.forward`."""
    check: Check
    proto: str = "http"


def statuses(edge: RunningEdge, url: str, *headers: dict[str, str]) -> list[int]:
    return [visit(edge, url, "/headers", headers=given).status_code for given in headers]


def by_password(edge: RunningEdge, url: str) -> None:
    assert visit(edge, url, "/headers").headers["www-authenticate"].startswith("Basic ")
    right, wrong = (
        {"authorization": f"Basic {word}"} for word in ("YWRhOmxvdmVsYWNlMTgxNQ==", "YWRhOmxvdmVsYWNlMTgxNg==")
    )
    assert statuses(edge, url, {}, wrong, right) == [401, 401, 200]


def by_headers(edge: RunningEdge, url: str) -> None:
    answer = visit(edge, url, "/headers", headers={"x-gone": "1", "x-kept": "2"})
    saw = answer.json()
    assert (saw["x-in"], saw["x-kept"], "x-gone" in saw) == ("a:b", "2", False)
    assert (answer.headers["x-out"], "server" in answer.headers) == ("c", False)


def by_compression(edge: RunningEdge, url: str) -> None:
    big = {"x-big": "a" * 4_000}
    answers = [visit(edge, url, "/headers", headers={**big, "accept-encoding": one}) for one in ("gzip", "identity")]
    assert [answer.headers.get("content-encoding") for answer in answers] == ["gzip", None]
    assert answers[0].json()["x-big"] == big["x-big"]


def by_websocket(edge: RunningEdge, url: str) -> None:
    refused = visit(edge, url)
    assert (refused.status_code, refused.headers["ngrok-error-code"]) == (400, "ERR_NGROK_3206")
    answer = ask(url, edge.ca, b"GET /headers HTTP/1.1\r\nhost: bytes\r\nconnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"bytes"' in answer


def by_agent(edge: RunningEdge, url: str) -> None:
    assert statuses(edge, url, *({"user-agent": name} for name in ("good/1", "bad/1", "other/1"))) == [200, 403, 200]


def by_signature(edge: RunningEdge, url: str) -> None:
    signature = "sha256=" + hmac.new(b"the-secret", b"body", hashlib.sha256).hexdigest()
    for body, status in ((b"body", 200), (b"other", 403)):
        headers = {"x-hub-signature-256": signature}
        assert visit(edge, url, "/upload", "POST", content=body, headers=headers).status_code == status
    assert visit(edge, url, "/upload", "POST", content=b"body").status_code == 403


def by_address(edge: RunningEdge, url: str) -> None:
    assert statuses(edge, url, {}) == [403]


def by_breaker(edge: RunningEdge, url: str) -> None:
    visitor = Visitor(edge.ca).connection(url)

    def status() -> int:
        # On one connection, so by one of Envoy's workers, as each counts the failures of the last seconds itself.
        visitor.request("GET", "/broken")
        answer = visitor.getresponse()
        answer.read()
        return answer.status

    assert status() == 500
    assert any(status() == 503 for _ in range(60))
    visitor.close()


def by_google(edge: RunningEdge, url: str) -> None:
    assert statuses(edge, url, {}) == [401]
    led = visit(edge, url, "/", headers=HTML)
    place = urlsplit(led.headers["location"])
    asked = parse_qs(place.query)
    assert (led.status_code, place.hostname, asked["client_id"]) == (302, "accounts.google.com", ["the-application"])
    assert set(asked["scope"][0].split()) >= {"profile"}


def by_policy(edge: RunningEdge, url: str) -> None:
    assert visit(edge, url, "/headers").headers["x-by"] == "policy"


def by_nobody(edge: RunningEdge, url: str) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=60) as visitor:
        try:
            visitor.sendall(b"GET /headers HTTP/1.1\r\nhost: here\r\n\r\n")
            assert visitor.recv(100) == b""
        except ConnectionError:
            pass


_GOOGLE = {"client_id": "the-application", "client_secret": "the-secret"}
FAMILIES = {
    "basic-auth": Family(
        ("--basic-auth", "ada:lovelace1815"),
        {"basic_auth": ["ada:lovelace1815"]},
        {"basic_auth": "ada:lovelace1815"},
        by_password,
    ),
    "headers": Family(
        (
            *("--request-header-add", "x-in:a:b", "--request-header-remove", "x-gone"),
            *("--response-header-add", "x-out:c", "--response-header-remove", "server"),
        ),
        {
            "request_header": {"add": ["x-in:a:b"], "remove": ["x-gone"]},
            "response_header": {"add": ["x-out:c"], "remove": ["server"]},
        },
        {
            "request_header_add": "x-in:a:b",
            "request_header_remove": "x-gone",
            "response_header_add": "x-out:c",
            "response_header_remove": "server",
        },
        by_headers,
    ),
    "compression": Family(("--compression",), {"compression": True}, {"compression": True}, by_compression),
    "websocket": Family(
        ("--websocket-tcp-converter",),
        {"websocket_tcp_converter": True},
        {"websocket_tcp_converter": True},
        by_websocket,
    ),
    "user-agents": Family(
        ("--ua-filter-allow", "^good/", "--ua-filter-deny", "^bad/"),
        {"user_agent_filter": {"allow": ["^good/"], "deny": ["^bad/"]}},
        {"allow_user_agent": "^good/", "deny_user_agent": "^bad/"},
        by_agent,
    ),
    "webhook": Family(
        ("--verify-webhook", "github", "--verify-webhook-secret", "the-secret"),
        {"verify_webhook": {"provider": "github", "secret": "the-secret"}},
        {"verify_webhook_provider": "github", "verify_webhook_secret": "the-secret"},
        by_signature,
    ),
    "breaker": Family(("--circuit-breaker", "0.5"), {"circuit_breaker": 0.5}, {"circuit_breaker": 0.5}, by_breaker),
    "oauth": Family(
        (
            *("--oauth", "google", "--oauth-client-id", "the-application", "--oauth-client-secret", "the-secret"),
            *("--oauth-allow-domain", "example.org", "--oauth-scope", "profile"),
        ),
        {"oauth": {"provider": "google", **_GOOGLE, "allow_domains": ["example.org"], "scopes": ["profile"]}},
        {
            "oauth_provider": "google",
            "oauth_client_id": "the-application",
            "oauth_client_secret": "the-secret",
            "oauth_allow_domains": "example.org",
            "oauth_scopes": "profile",
        },
        by_google,
    ),
    "addresses": Family(
        ("--cidr-allow", ELSEWHERE),
        {"ip_restriction": {"allow_cidrs": [ELSEWHERE]}},
        {"allow_cidr": ELSEWHERE},
        by_address,
    ),
    "tcp-addresses": Family(
        ("--cidr-deny", HERE), {"ip_restriction": {"deny_cidrs": [HERE]}}, {"deny_cidr": HERE}, by_nobody, "tcp"
    ),
    "policy": Family(
        ("--traffic-policy-file", "{policy}"),
        {"traffic_policy": TAGGED},
        {"traffic_policy": TAGGED},
        by_policy,
    ),
    "tcp-policy": Family(
        ("--traffic-policy-file", "{policy}"),
        {"traffic_policy": LOCAL_ONLY},
        {"traffic_policy": yaml.safe_dump(LOCAL_ONLY)},
        by_nobody,
        "tcp",
    ),
}


def arguments(family: Family, directory: Path) -> list[str]:
    """Its flags, with files in place of policies."""
    policy = directory / "policy.yml"
    policy.write_text(yaml.safe_dump(family.keys.get("traffic_policy", {})))
    return [flag.replace("{policy}", str(policy)) for flag in family.flags]


@pytest.mark.parametrize("name", FAMILIES)
def test_flags(edge: RunningEdge, port: int, tmp_path: Path, name: str) -> None:
    family = FAMILIES[name]
    with running_agent(edge, family.proto, str(port), *arguments(family, tmp_path)) as agent:
        family.check(edge, agent.url())


@pytest.mark.parametrize("version", [2, 3])
def test_files(edge: RunningEdge, port: int, tmp_path: Path, version: int) -> None:
    config = tmp_path / "portico.yml"
    families = dict(FAMILIES)
    tunnels = {}
    for name, family in FAMILIES.items():
        domain = {"domain": f"{name}.v{version}.localhost"} if family.proto == "http" else {}
        tunnels[name] = {"proto": family.proto, "addr": port, **domain, **family.keys}
    document: dict[str, Any] = {"version": version, "tunnels": tunnels}
    if version == 3:
        policy = tmp_path / "policy.json"
        policy.write_text(json.dumps(TAGGED))
        document["endpoints"] = [
            {"name": name, "url": f"https://{name}.localhost", "upstream": {"url": str(port)}, **given}
            for name, given in (
                ("inline", {"traffic_policy": TAGGED}),
                ("of-file", {"traffic_policy_file": str(policy)}),
            )
        ]
        families |= dict.fromkeys(("inline", "of-file"), FAMILIES["policy"])
    config.write_text(yaml.safe_dump(document))
    with running_agent(edge, "start", "--all", "--config", str(config)) as agent:
        for url in [agent.url() for _ in families]:
            host = urlsplit(url).hostname or ""
            check = by_nobody if url.startswith("tcp:") else families[host.partition(".")[0]].check
            check(edge, url)


@pytest.mark.usefixtures("sdk_environment")
@pytest.mark.parametrize("name", FAMILIES)
def test_forward(edge: RunningEdge, port: int, name: str) -> None:
    family = FAMILIES[name]
    family.check(edge, portico.forward(port, proto=family.proto, **family.options).url())


@pytest.mark.usefixtures("sdk_environment")
async def test_somebody_signs_in(edge: RunningEdge, port: int) -> None:
    application = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    async with identity_provider() as provider:
        for allowed, status in (("example.com", 200), ("example.org", 403)):
            options = {"oidc_issuer_url": provider.url, "oidc_allow_domains": allowed, **application}
            listener = await portico.forward(port, **options)
            assert await signed_in(edge, listener.url()) == status


async def signed_in(edge: RunningEdge, url: str) -> int:
    """The status that the provider's person gets in the end."""
    cookies: dict[str, str] = {}

    async def asked(path: str) -> httpx.Response:
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items() if value)}
        answer = await visit_async(edge, url, path, headers={**HTML, **(cookie if cookies else {})})
        cookies.update(answer.cookies)
        return answer

    led = await asked("/headers")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:
        back = urlsplit((await browser.get(led.headers["location"])).headers["location"])
    returned = await asked(f"{back.path}?{back.query}")
    assert returned.status_code in (302, 303), returned.text
    return (await asked("/headers")).status_code


@pytest.mark.usefixtures("sdk_environment")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"basic_auth": "ada:short"}, "credentials"),
        ({"oauth_provider": "google"}, "client_id"),
        ({"verify_webhook_provider": "githup", "verify_webhook_secret": "x"}, "github"),
        ({"allow_user_agent": "("}, "no RE2 regular expression"),
        ({"allow_cidr": "here"}, "IP restrictions"),
        ({"traffic_policy": "on_http_request: [{actions: [{type: deni}]}]"}, "did you mean deny"),
    ],
)
def test_wrong_options_open_nothing(edge: RunningEdge, port: int, options: dict[str, Any], told: str) -> None:
    with pytest.raises(PorticoError, match=told) as refused:
        portico.forward(port, domain="never.localhost", **options)
    assert refused.value.code in (BIND_INVALID, NOT_SERVED)
    assert visit(edge, f"https://never.localhost:{edge.https_port}").status_code == 404
