"""The policies of docs/guides/programs.md as they stand there, in a real edge with its vault and its access log."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

import portico
from kit.client_certificates import VisitorAuthority, written
from kit.edge import RunningEdge, running_edge
from kit.guides import policy_of
from kit.polling import eventually
from kit.visit import PATIENCE, trust, visit
from kit.web_service import web_service
from kit.whole_lines import records
from portico.model.endpoint import KeyPair

KEY, NEXT = "the-key-of-billing", "the-next-key-of-billing"
Policy = dict[str, Any]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    directory = tmp_path_factory.mktemp("edge")
    with running_edge(directory, "--access-log", "json", "--access-log-file", str(directory / "access.log")) as running:
        yield running


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with web_service() as port:
        yield port


@contextmanager
def served(edge: RunningEdge, service: int, policy: Policy) -> Iterator[str]:
    with portico.forward(
        service,
        traffic_policy=json.dumps(policy),
        authtoken=edge.authtoken,
        connect_url=edge.connect_url,
        connect_cas=str(edge.ca),
    ) as listener:
        yield listener.url()


def call(edge: RunningEdge, method: str, path: str, **body: str) -> dict[str, Any]:
    """One request to the edge's API."""
    key = (edge.data_dir / "api-key").read_text().strip()
    address = f"https://api.localhost:{edge.https_port}"
    headers = {"authorization": f"Bearer {key}", "ngrok-version": "2"}
    answer = visit(edge, address, path, method, **({"json": body} if body else {}), headers=headers)
    assert answer.is_success, answer.text
    made: dict[str, Any] = answer.json() if answer.content else {}
    return made


def logged(edge: RunningEdge, path: str) -> list[dict[str, Any]]:
    """What the access log has of the requests for one path."""
    file = edge.data_dir.parent / "access.log"
    return [line for line in records(file) if line["path"] == path]


def identity(edge: RunningEdge, path: str, program: str) -> dict[str, Any]:
    """What the one line that knows the program says of the policy, once it is written."""

    def found() -> list[dict[str, Any]]:
        return [line for line in logged(edge, path) if (line["policy"]["log"] or {}).get("program") == program]

    line: dict[str, Any] = eventually(found)[0]
    return line


def get(edge: RunningEdge, url: str, *headers: tuple[str, str], tls: KeyPair | None = None) -> httpx.Response:
    """A request with these headers, one of which may come twice, and perhaps with a certificate."""
    context, host = trust(edge), url.removeprefix("https://")
    if tls is not None:
        context.load_cert_chain(*written(tls, edge.data_dir.parent))
    with httpx.Client(verify=context, timeout=PATIENCE, trust_env=False) as client:
        return client.get(
            f"https://127.0.0.1:{edge.https_port}/headers",
            headers=[("host", host), *headers],
            extensions={"sni_hostname": host.partition(":")[0]},
        )


def test_a_key_in_a_header(edge: RunningEdge, service: int) -> None:
    vault = call(edge, "POST", "/vaults", name="programs")
    secret = call(edge, "POST", "/vault_secrets", name="billing", value=KEY, vault_id=vault["id"])
    with served(edge, service, policy_of("programs", "An API key in a header")) as url:

        def asked(*keys: str) -> httpx.Response:
            return get(edge, url, ("x-program", "root"), ("x_program", "root"), *(("x-api-key", key) for key in keys))

        saw = asked(KEY).json()
        assert (saw["x-program"], "x_program" in saw, "x-api-key" in saw) == ("billing", False, False)
        for wrong in [(), ("",), (KEY[:-1],), (KEY, KEY), ("wrong", KEY)]:
            answer = asked(*wrong)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "ApiKey"), wrong
            assert answer.json() == {"error": "a valid x-api-key is needed"}
        assert identity(edge, "/headers", "billing")["policy"]["rule"] == "known programs"
        call(edge, "PATCH", f"/vault_secrets/{secret['id']}", value=NEXT)
        eventually(lambda: (asked(KEY).status_code, asked(NEXT).status_code) == (401, 200))
        call(edge, "DELETE", f"/vault_secrets/{secret['id']}")
        eventually(lambda: asked(NEXT).status_code == 401)
    kept = (edge.data_dir.parent / "access.log").read_text() + edge.log.read_text()
    assert KEY not in kept
    assert NEXT not in kept


def test_a_key_in_the_query(edge: RunningEdge, service: int) -> None:
    policy = policy_of("programs", "Many keys, by their hashes")
    variables = policy["on_http_request"][0]["actions"][0]["config"]["vars"]
    variables[0] = {
        "programs": {hashlib.sha256(key.encode()).hexdigest(): key[11:] for key in (KEY, "the-key-of-search")}
    }
    with served(edge, service, policy) as url:

        def status(query: str) -> int:
            return visit(edge, url, f"/query{query}").status_code

        right = visit(edge, url, f"/headers?api_key={KEY}")
        assert right.status_code == 200
        assert status("?page=2&api_key=the-key-of-search") == 404, "the service has no such path, and was asked"
        wrong = [
            "",
            "?",
            "?api_key",
            "?api_key=",
            "?api_key=wrong",
            f"?api_key={KEY}x",
            f"?api_key={KEY}&api_key={KEY}",
        ]
        assert [status(query) for query in wrong] == [401] * len(wrong)
        assert status(f"?API_KEY={KEY}") == 401
        line = identity(edge, "/query", "search")
    assert (line["status"], line["policy"]["rule"]) == (404, "known programs")
    assert KEY not in (edge.data_dir.parent / "access.log").read_text()


def test_where_certificates_are_no_duty_strangers_are_refused_by_the_rule(edge: RunningEdge, service: int) -> None:
    authority = VisitorAuthority()
    policy = policy_of("programs", "Client certificates")
    policy["on_tcp_connect"][0]["actions"][0]["config"] = {
        "mutual_tls_certificate_authorities": [authority.pem],
        "mutual_tls_verification_strategy": "verify-if-given",
    }
    with served(edge, service, policy) as url:
        assert get(edge, url, tls=authority.issue("billing")).status_code == 200
        assert get(edge, url).status_code == 403


def test_a_certificate(edge: RunningEdge, service: int) -> None:
    authority = VisitorAuthority()
    policy = policy_of("programs", "Client certificates")
    policy["on_tcp_connect"][0]["actions"][0]["config"]["mutual_tls_certificate_authorities"] = [authority.pem]
    with served(edge, service, policy) as url:

        def asked(pair: KeyPair | None) -> httpx.Response:
            return get(edge, url, ("x-program", "root"), ("x_program", "root"), tls=pair)

        by_name = asked(authority.issue("billing"))
        assert (by_name.status_code, by_name.json()["x-program"]) == (200, "billing")
        assert "x_program" not in by_name.json()
        assert asked(authority.issue("any", dns=["other.example.com", "reports.example.com"])).status_code == 200
        assert asked(authority.issue("stranger", dns=["billing"])).status_code == 403
        assert asked(authority.issue("Billing")).status_code == 403
        for nobody in (None, VisitorAuthority("others").issue("billing")):
            with pytest.raises(httpx.TransportError):
                asked(nobody)
        line = identity(edge, "/headers", "any")
    assert line["policy"]["rule"] == "known programs"
    assert "CN=any" in line["tls"]["certificate"]
    assert line["policy"]["log"]["certificate"]
