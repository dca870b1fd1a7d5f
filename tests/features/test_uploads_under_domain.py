"""An uploaded certificate for a name right under the edge's domain, which otherwise shares the edge's own one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import portico
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.service import http_service
from kit.visitor import Visitor


@pytest.fixture
def domain_edge(tmp_path: Path) -> Iterator[RunningEdge]:
    with running_edge(tmp_path, "--domain", "edge.test") as edge:
        yield edge
        portico.kill()


def call(edge: RunningEdge, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, str]:
    """Ask the API with curl's resolver: api.edge.test is this machine."""
    key = (edge.data_dir / "api-key").read_text().strip()
    url = f"https://api.edge.test:{edge.https_port}{path}"
    command = ["curl", "-sS", "--fail-with-body", "--cacert", str(edge.ca), "-X", method, url, "-d", json.dumps(body)]
    command += ["--resolve", f"api.edge.test:{edge.https_port}:127.0.0.1", "-H", "content-type: application/json"]
    command += ["-H", f"authorization: Bearer {key}", "-H", "ngrok-version: 2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout or "{}")


def issuer(edge: RunningEdge, name: str) -> str:
    address = f"127.0.0.1:{edge.https_port}"
    command = ["openssl", "s_client", "-connect", address, "-servername", name]
    shown = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False).stdout
    return next(line for line in shown.splitlines() if line.startswith("issuer="))


def test_an_upload_comes_and_goes_under_the_edges_own_domain(domain_edge: RunningEdge, tmp_path: Path) -> None:
    edge, visitor = domain_edge, Visitor(domain_edge.ca)
    certificate, key = KeyPairs(tmp_path, "Owner CA").issue("shop.edge.test")
    with http_service() as port:
        listener = portico.forward(
            port, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca), domain="shop"
        )
        assert visitor.get(listener.url())[0] == 200
        assert "Owner CA" not in issuer(edge, "shop.edge.test")
        made = call(
            edge,
            "POST",
            "/tls_certificates",
            {"certificate_pem": certificate.read_text(), "private_key_pem": key.read_text()},
        )
        assert "Owner CA" in issuer(edge, "shop.edge.test")
        assert "Owner CA" not in issuer(edge, "other.edge.test")
        call(edge, "DELETE", f"/tls_certificates/{made['id']}")
        assert "Owner CA" not in issuer(edge, "shop.edge.test")
        assert visitor.get(listener.url())[0] == 200
