"""TLS to upstreams, through a real edge: nginx and openssl s_server behind the command line, the file and the SDK.

Rows of the seeds' document on upstream TLS (S0).
"""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import portico
from kit.cli import running_agent
from kit.client_certificates import HOUR, SERVER, VisitorAuthority, written
from kit.curl import curl
from kit.edge import RunningEdge
from kit.nginx import mutual_nginx
from kit.polling import eventually
from kit.ports import free_port
from kit.rows import row
from kit.s_server import s_server
from kit.service import http_service
from kit.visit import visit
from portico import PorticoError

NAME = "terminate-tls-example.ngrok.app"
# The commands of the document, as they stand there.
COMMANDS = f"""
openssl genpkey -algorithm RSA -out ca.key -pkeyopt rsa_keygen_bits:2048
openssl req -x509 -new -nodes -key ca.key -sha256 -days 365 -out ca.crt -subj "/CN=ExampleCA"
openssl genpkey -algorithm RSA -out server.key -pkeyopt rsa_keygen_bits:2048
openssl req -new -key server.key -out server.csr -subj "/CN={NAME}"
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 365 -sha256
openssl genpkey -algorithm RSA -out client.key -pkeyopt rsa_keygen_bits:2048
openssl req -new -key client.key -out client.csr -subj "/CN=ExampleClient"
openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt -days 365 -sha256 \
-extfile <(printf "extendedKeyUsage = clientAuth")
"""
pytestmark = pytest.mark.usefixtures("sdk_environment")


class Made:
    """The document's files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        subprocess.run(["bash", "-ec", COMMANDS], cwd=directory, check=True, capture_output=True)

    def __getitem__(self, name: str) -> Path:
        return self.directory / name

    def pem(self, name: str) -> str:
        return self[name].read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def upstream(made: Made) -> Iterator[int]:
    """nginx that speaks to nobody without a certificate of the document's CA."""
    with mutual_nginx(made.directory, made["server.crt"], made["server.key"], made["ca.crt"]) as port:
        yield port


@row("0.1", by_hand="openssl req -x509 -new -nodes -key ca.key -sha256 -days 365 -out ca.crt -subj /CN=ExampleCA")
def test_row_0_1_the_documents_commands_make_what_the_upstream_demands(
    edge: RunningEdge, made: Made, upstream: int
) -> None:
    files = ["ca.key", "ca.crt", "server.key", "server.csr", "server.crt", "client.key", "client.csr", "client.crt"]
    assert all(made[name].stat().st_size for name in files)
    proved = ["openssl", "verify", "-CAfile", str(made["ca.crt"]), "-purpose", "sslclient", str(made["client.crt"])]
    subprocess.run(proved, check=True, capture_output=True)
    # nginx, as its users know it, tells strangers so in HTTP.
    with running_agent(edge, "http", f"https://localhost:{upstream}") as agent:
        answer = curl(agent.url(), edge.ca)
        assert (answer.status, "No required SSL certificate was sent" in answer.body) == (400, True)
        assert agent.stop() == 0


@row(
    "0.8",
    by_hand="portico http https://localhost:8443 --upstream-tls-verify-cas ca.crt --upstream-client-crt client.crt "
    "--upstream-client-key client.key",
)
def test_row_0_8_on_the_command_line(edge: RunningEdge, made: Made, upstream: int) -> None:
    flags = [
        *("--upstream-tls-verify", "--upstream-tls-verify-cas", str(made["ca.crt"])),
        *("--upstream-tls-server-name", NAME, "--upstream-tls-min-version", "1.3"),
        *("--upstream-client-crt", str(made["client.crt"]), "--upstream-client-key", str(made["client.key"])),
    ]
    with running_agent(edge, "http", f"https://localhost:{upstream}", *flags) as agent:
        answer = curl(agent.url(), edge.ca)
        assert answer.body == f"CN=ExampleClient sni={NAME} TLSv1.3 HTTP/1.1\n"
        assert agent.stop() == 0
        assert not [record for record in agent.records if "not verified" in record["event"]]


def test_row_0_8_http2_by_alpn(edge: RunningEdge, made: Made, upstream: int) -> None:
    client = ["--upstream-client-crt", str(made["client.crt"]), "--upstream-client-key", str(made["client.key"])]
    flags = ["--upstream-protocol", "http2", *client]
    with running_agent(edge, "http", f"https://localhost:{upstream}", *flags) as agent:
        assert curl(agent.url(), edge.ca).body.endswith("TLSv1.3 HTTP/2.0\n")
        assert agent.stop() == 0


@pytest.mark.parametrize("version", [2, 3])
def test_row_0_8_in_the_file(edge: RunningEdge, made: Made, upstream: int, version: int, tmp_path: Path) -> None:
    v2 = {
        "upstream_tls_verify_cas": "ca.crt", "upstream_tls_server_name": NAME,
        "upstream_client_crt": "client.crt", "upstream_client_key": "client.key",
    }  # fmt: skip
    v3 = {
        "tls_verify_cas": "ca.crt", "tls_server_name": NAME,
        "client_certificate": "client.crt", "client_private_key": "client.key",
    }  # fmt: skip
    keys = {name: value if value == NAME else str(made[value]) for name, value in (v2 if version == 2 else v3).items()}
    address = f"https://localhost:{upstream}"
    document: dict[str, Any] = {"version": version}
    if version == 2:
        document["tunnels"] = {"web": {"proto": "http", "addr": address, **keys}}
    else:
        document["endpoints"] = [{"name": "web", "upstream": {"url": address, **keys}}]
    (tmp_path / "portico.yml").write_text(yaml.safe_dump(document))
    with running_agent(edge, "start", "web", "--config", str(tmp_path / "portico.yml")) as agent:
        assert curl(agent.url(), edge.ca).body == f"CN=ExampleClient sni={NAME} TLSv1.3 HTTP/1.1\n"
        assert agent.stop() == 0


def test_row_0_8_in_the_sdk(edge: RunningEdge, made: Made, upstream: int) -> None:
    listener = portico.forward(
        f"https://localhost:{upstream}",
        upstream_tls_verify_cas=made.pem("ca.crt"),
        upstream_tls_server_name=NAME,
        upstream_client_crt=made.pem("client.crt"),
        upstream_client_key=made.pem("client.key"),
    )
    assert visit(edge, listener.url()).text == f"CN=ExampleClient sni={NAME} TLSv1.3 HTTP/1.1\n"
    with pytest.raises(PorticoError, match="means nothing to http"):
        portico.forward(upstream, upstream_tls_server_name=NAME)


def test_row_0_8_what_is_not_verified_is_told(edge: RunningEdge, made: Made, upstream: int) -> None:
    with running_agent(edge, "start", "--none") as agent:
        address = agent.record("address")["address"]
        definition = {"name": "a", "upstream": {"url": f"https://localhost:{upstream}"}}
        assert "not verified" in put(address, definition)["warnings"][0]
        agent.url()
        assert "certificate is not verified" in agent.record("url")["event"]
        assert agent.stop() == 0


def put(address: str, definition: dict[str, Any]) -> dict[str, Any]:
    """What the agent's local interface says of the endpoint that it opened."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/api/endpoints", json.dumps(definition).encode(), headers, method="PUT")
    with urllib.request.urlopen(request) as answer:
        said: dict[str, Any] = json.load(answer)
        return said


trusted, strangers = VisitorAuthority("trusted"), VisitorAuthority("strangers")
GOOD = {"dns": ["localhost"], "usage": SERVER}
WRONG: dict[str, tuple[Any, list[str], str, str]] = {
    # the upstream's pair, flags of s_server, the reason for programs and the words for people
    "untrusted": (strangers.issue(**GOOD), [], "tls-untrusted", "its certificate is not trusted"),
    "wrong name": (trusted.issue(dns=["other"], usage=SERVER), [], "tls-wrong-name", "is for another name"),
    "expired": (trusted.issue(starts=-2 * HOUR, lasts=HOUR, **GOOD), [], "tls-expired", "has expired"),
    "not yet valid": (trusted.issue(starts=HOUR, **GOOD), [], "tls-not-yet-valid", "is not valid yet"),
    "no certificate of ours, TLS 1.3": (
        trusted.issue(**GOOD), ["-Verify", "1", "-tls1_3"], "tls-client-certificate", "demands a client certificate",
    ),
    "no certificate of ours, TLS 1.2": (
        trusted.issue(**GOOD), ["-Verify", "1", "-tls1_2"], "tls-client-certificate", "demands a client certificate",
    ),
    "old TLS": (
        trusted.issue(**GOOD), ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "tls-version", "no version of TLS",
    ),
    "no HTTP": (trusted.issue(**GOOD), ["plain"], "not-tls", "does not speak TLS"),
}  # fmt: skip


@contextlib.contextmanager
def wrong_upstream(directory: Path, name: str, port: int) -> Iterator[None]:
    pair, flags, _, _ = WRONG[name]
    with contextlib.ExitStack() as stack:
        if flags == ["plain"]:
            stack.enter_context(http_service(port))
        else:
            stack.enter_context(s_server(*written(pair, directory, "upstream"), *flags, port=port))
        yield


@row("0.9", by_hand="portico http https://localhost:8443 --upstream-tls-verify")
@pytest.mark.parametrize("name", WRONG)
def test_row_0_9_page_log_and_status_name_the_reason(edge: RunningEdge, name: str, tmp_path: Path) -> None:
    _, _, reason, words = WRONG[name]
    (tmp_path / "ca.pem").write_text(trusted.pem)
    port = free_port()
    flags = ["--upstream-tls-verify-cas", str(tmp_path / "ca.pem")]
    with running_agent(edge, "http", f"https://localhost:{port}", *flags) as agent:
        url = agent.url()
        local = agent.record("address")["address"]
        with wrong_upstream(tmp_path, name, port):
            answer = curl(url, edge.ca)
            assert (answer.status, answer.error_code) == (502, "ERR_NGROK_8012")
            assert words in answer.body
            record = agent.record("upstream", "reason")
            assert (record["reason"], words in record["upstream"]) == (reason, True)
            assert words in problem(local)
            eventually(lambda: seen(local)[0] == "502 Bad Gateway")
        with s_server(*written(trusted.issue(**GOOD), tmp_path, "upstream"), port=port):
            assert eventually(lambda: curl(url, edge.ca).status == 200)
            assert problem(local) == ""
        assert agent.stop() == 0


def test_row_0_9_a_certificate_of_ours_that_is_refused(edge: RunningEdge, tmp_path: Path) -> None:
    crt, key = written(strangers.issue("us"), tmp_path, "client")
    (tmp_path / "ca.pem").write_text(trusted.pem)
    for version in ("-tls1_2", "-tls1_3"):
        demand = ["-Verify", "1", "-verify_return_error", "-CAfile", str(tmp_path / "ca.pem"), version]
        with s_server(*written(trusted.issue(**GOOD), tmp_path, "upstream"), *demand) as port:
            flags = ["--upstream-client-crt", str(crt), "--upstream-client-key", str(key)]
            with running_agent(edge, "http", f"https://localhost:{port}", *flags) as agent:
                answer = curl(agent.url(), edge.ca)
                assert (answer.status, "refused the client certificate (unknown CA)" in answer.body) == (502, True)
                assert agent.record("upstream", "reason")["reason"] == "tls-client-certificate"
                assert agent.stop() == 0


def test_row_0_9_an_upstream_without_http2(edge: RunningEdge, tmp_path: Path) -> None:
    with s_server(*written(trusted.issue(**GOOD), tmp_path, "upstream"), "-alpn", "http/1.1") as port:
        flags = ["--upstream-protocol", "http2"]
        with running_agent(edge, "http", f"https://localhost:{port}", *flags) as agent:
            assert curl(agent.url(), edge.ca).status in (502, 503)
            assert agent.record("upstream", "reason")["reason"] == "no-http2"
            assert agent.stop() == 0


def asked(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


def problem(local: str) -> str:
    return str(asked(f"{local}/api/endpoints")["endpoints"][0]["problem"])


def seen(local: str) -> list[str]:
    """What the requests were answered with, the newest first."""
    return [one["response"]["status"] for one in asked(f"{local}/api/requests/http")["requests"]]
