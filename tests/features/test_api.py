"""The REST API of a real edge, through ngrok's official API client: what is changed takes effect at once."""

import datetime
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import portico
from kit.cli import COMMAND, running_agent
from kit.edge import RunningEdge
from kit.key_pairs import KeyPairs
from kit.ngrok_api import OfficialClient, OfficialError, official_client
from kit.polling import PATIENCE, eventually
from kit.service import http_service
from kit.visitor import Visitor
from portico.model.errors import PorticoError


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@pytest.fixture(scope="module")
def visitor(edge: RunningEdge) -> Visitor:
    return Visitor(edge.ca)


@pytest.fixture(scope="module")
def client(edge: RunningEdge) -> Iterator[OfficialClient]:
    with official_client(edge, (edge.data_dir / "api-key").read_text().strip()) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_agent_is_left() -> Iterator[None]:
    yield
    portico.kill()


def forward(edge: RunningEdge, service: int, authtoken: str | None = None, **options: str) -> portico.Listener:
    return portico.forward(
        service,
        authtoken=authtoken or edge.authtoken,
        connect_url=edge.connect_url,
        connect_cas=str(edge.ca),
        **options,  # type: ignore[arg-type]
    )


def test_every_stored_resource_is_made_got_listed_changed_and_removed(client: OfficialClient, tmp_path: Path) -> None:
    pairs = KeyPairs(tmp_path, "Uploads")
    certificate, key = pairs.issue("uploaded.example.com")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    creates: dict[str, dict[str, object]] = {
        "api_keys": {},
        "credentials": {"acl": ["bind:*.example.com"]},
        "ssh_credentials": {"public_key": (tmp_path / "id.pub").read_text()},
        "reserved_domains": {"domain": "official.example.com"},
        "reserved_addrs": {},
        "tls_certificates": {
            "certificate_pem": certificate.read_text(),
            "private_key_pem": key.read_text(),
        },
        "certificate_authorities": {"ca_pem": pairs.ca.read_text()},
        "ip_policies": {},
        "ip_policy_rules": {
            "ip_policy_id": client("ip_policies", "create")["id"],
            "cidr": "192.0.2.0/24",
            "action": "allow",
        },
        "vaults": {"name": "vault"},
        "secrets": {"name": "secret", "value": "hush", "vault_name": client("vaults", "create", name="v")["name"]},
    }
    for name, arguments in creates.items():
        made = client(name, "create", description="made", metadata="m", **arguments)
        got = client(name, "get", id=made["id"])
        assert got == {**made, "token": None} if "token" in made else got == made, name
        assert got["id"] in [entry["id"] for entry in client(name, "list", limit="1")], name
        client(name, "update", id=made["id"], description="changed")
        assert client(name, "get", id=made["id"])["description"] == "changed", name
        client(name, "delete", id=made["id"])
        with pytest.raises(OfficialError) as caught:
            client(name, "get", id=made["id"])
        assert (caught.value.kind, caught.value.status) == ("NotFoundError", 404), name
        assert caught.value.operation_id.startswith("op_"), name


def test_lists_are_filtered_by_the_official_client(client: OfficialClient) -> None:
    made = [client("ip_policies", "create", metadata=f"filtered {number}")["id"] for number in range(3)]
    found = client("ip_policies", "list", filter="obj.metadata.startsWith('filtered')", limit="1")
    assert [entry["id"] for entry in found] == made[::-1]
    vault = client("vaults", "create", name="listed")["id"]
    secret = client("secrets", "create", name="a", value="b", vault_id=vault)
    assert client("vaults", "get_secrets_by_vault", id=vault)["secrets"] == [secret]
    with pytest.raises(OfficialError, match="there is no field obj") as caught:
        client("ip_policies", "list", filter="obj.nothing == 1")
    assert caught.value.status == 400


def test_errors_have_ngroks_shape(client: OfficialClient, edge: RunningEdge) -> None:
    with pytest.raises(OfficialError) as caught:
        client("credentials", "create", acl=["connect:x"])
    assert (caught.value.kind, caught.value.code, caught.value.status) == ("Error", "ERR_NGROK_600", 400)
    with official_client(edge, edge.authtoken) as wrong, pytest.raises(OfficialError) as caught:
        wrong("api_keys", "list")
    assert (caught.value.code, caught.value.status) == ("ERR_NGROK_206", 401)


def test_what_is_live_is_listed(client: OfficialClient, edge: RunningEdge, service: int) -> None:
    listener = forward(edge, service, metadata="of the endpoint", session_metadata="of the session")
    (endpoint,) = client("endpoints", "list", url=[listener.url()])
    assert (endpoint["url"], endpoint["type"], endpoint["metadata"]) == (listener.url(), "ephemeral", "of the endpoint")
    assert client("endpoints", "get", id=endpoint["id"]) == endpoint
    assert client("endpoints", "list", url=["https://other.localhost"]) == []
    session = client("tunnel_sessions", "get", id=endpoint["tunnel_session"]["id"])
    assert (session["ip"], session["metadata"]) == ("127.0.0.1", "of the session")
    assert client("credentials", "get", id=session["credential"]["id"])["token"] is None
    started = datetime.datetime.fromisoformat(session["started_at"])
    assert abs(datetime.datetime.now(datetime.UTC) - started) < datetime.timedelta(hours=1)
    assert endpoint["tunnel"]["id"] in [tunnel["id"] for tunnel in client("tunnels", "list")]
    assert client("tunnels", "get", id=endpoint["tunnel"]["id"])["public_url"] == listener.url()


def test_revoking_a_credential_drops_its_sessions_and_refuses_them(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor
) -> None:
    made = client("credentials", "create")
    listener = forward(edge, service, made["token"])
    url = listener.url()
    assert visitor.get(url)[0] == 200
    client("credentials", "delete", id=made["id"])
    eventually(lambda: visitor.get(url)[0] == 404)
    assert client("endpoints", "list", url=[url]) == []
    portico.kill()
    with pytest.raises(PorticoError) as caught:
        forward(edge, service, made["token"])
    assert caught.value.code.number == 107


def test_a_user_who_is_removed_loses_his_sessions(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor
) -> None:
    key = {"PORTICO_API_KEY": (edge.data_dir / "api-key").read_text().strip()}
    made = cli(edge, "users", "create", "--name", "Ann", "--email", "ann@example.com", "--role", "member", **key)
    user = json.loads(made.stdout)["id"]
    token = client("credentials", "create", owner_id=user)["token"]
    his_key = client("api_keys", "create", owner_id=user)["token"]
    listener = forward(edge, service, token)
    url = listener.url()
    with official_client(edge, his_key) as his:
        assert [endpoint["url"] for endpoint in his("endpoints", "list")] == [url]
        assert visitor.get(url)[0] == 200
        assert cli(edge, "users", "delete", user, **key).returncode == 0
        eventually(lambda: visitor.get(url)[0] == 404)
        with pytest.raises(OfficialError) as caught:
            his("endpoints", "list")
        assert caught.value.status == 401
    portico.kill()
    with pytest.raises(PorticoError):
        forward(edge, service, token)


def test_an_acl_limits_what_a_credential_may_bind_from_the_next_bind_on(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor
) -> None:
    made = client("credentials", "create", acl=["bind:*.allowed.example.com"])
    listener = forward(edge, service, made["token"], domain="a.allowed.example.com")
    with pytest.raises(PorticoError) as caught:
        forward(edge, service, made["token"], domain="b.other.example.com")
    assert caught.value.code.number == 20_010
    client("credentials", "update", id=made["id"], acl=["bind:b.other.example.com"])
    other = forward(edge, service, made["token"], domain="b.other.example.com")
    assert [visitor.get(one.url())[0] for one in (listener, other)] == [200, 200]
    with pytest.raises(PorticoError):
        forward(edge, service, made["token"], domain="c.allowed.example.com")


def test_a_reserved_domain_is_its_owners_alone_at_once(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor
) -> None:
    url = f"https://mine.example.com:{edge.https_port}"
    made = client("reserved_domains", "create", domain="mine.example.com")
    assert made["cname_target"] == "localhost"
    assert eventually(lambda: visitor.get(url))[0] == 404  # with a certificate for it
    listener = forward(edge, service, domain="mine.example.com")
    assert visitor.get(listener.url())[0] == 200
    client("reserved_domains", "delete", id=made["id"])
    assert visitor.get(listener.url())[0] == 200


def test_a_session_that_cannot_update_says_so_and_an_unknown_one_is_not_found(
    client: OfficialClient, edge: RunningEdge, service: int
) -> None:
    listener = forward(edge, service)
    (endpoint,) = client("endpoints", "list", url=[listener.url()])
    with pytest.raises(OfficialError) as caught:
        client("tunnel_sessions", "stop", id="ts_unknown")
    assert caught.value.status == 404
    with pytest.raises(OfficialError, match="the agent did not update") as caught:
        client("tunnel_sessions", "update", id=endpoint["tunnel_session"]["id"])
    assert (caught.value.status, caught.value.code) == (409, "PORTICO_20109")


def test_an_agent_can_be_stopped(client: OfficialClient, edge: RunningEdge, service: int) -> None:
    with running_agent(edge, "http", str(service)) as agent:
        (endpoint,) = client("endpoints", "list", url=[agent.url()])
        client("tunnel_sessions", "stop", id=endpoint["tunnel_session"]["id"])
        assert agent.process.wait(PATIENCE) == 0
    eventually(lambda: client("endpoints", "list", url=[endpoint["url"]]) == [])


def test_an_uploaded_certificate_is_served_at_once_and_no_open_connection_notices(
    client: OfficialClient, edge: RunningEdge, service: int, visitor: Visitor, tmp_path: Path
) -> None:
    pairs = KeyPairs(tmp_path, "Owner CA")
    certificate, key = pairs.issue("swap.example.com")
    listener = forward(edge, service, domain="swap.example.com")
    connection = visitor.connection(listener.url())
    connection.request("GET", "/before")
    assert connection.getresponse().read() == b"served /before\n"
    assert issuer(edge, "swap.example.com") != "Owner CA"

    made = client(
        "tls_certificates", "create", certificate_pem=certificate.read_text(), private_key_pem=key.read_text()
    )
    assert issuer(edge, "swap.example.com") == "Owner CA"
    assert made["issuer_common_name"] == "Owner CA"
    assert made["subject_alternative_names"]["dns_names"] == ["swap.example.com"]
    assert "PRIVATE KEY" not in json.dumps(made)
    connection.request("GET", "/after")
    assert connection.getresponse().read() == b"served /after\n"

    client("tls_certificates", "delete", id=made["id"])
    assert issuer(edge, "swap.example.com") != "Owner CA"
    connection.request("GET", "/again")
    assert connection.getresponse().read() == b"served /again\n"
    connection.close()


def issuer(edge: RunningEdge, name: str) -> str:
    """The issuer of the certificate that a new visitor is shown."""
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https_port}", "-servername", name, "-showcerts"],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    line = next(line for line in shown.splitlines() if line.startswith("issuer="))
    return line.rpartition("CN")[2].strip(" =")


def test_the_edge_s_own_names_answer_nobody_without_a_key(edge: RunningEdge) -> None:
    context = ssl.create_default_context(cafile=str(edge.ca))
    assert context.verify_mode is ssl.CERT_REQUIRED
    visitor = Visitor(edge.ca)
    base = f"https://api.localhost:{edge.https_port}"
    assert visitor.get(f"{base}/healthz") == (200, "ok\n")
    for path in ("/", "/api_keys", "/openapi.json"):
        status, body = visitor.get(base + path)
        assert (status, json.loads(body)["error_code"]) == (401, "ERR_NGROK_200")


def cli(edge: RunningEdge, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`portico api …` against `edge`."""
    return subprocess.run(
        [*COMMAND, "api", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**edge.agent_environment, "XDG_CONFIG_HOME": str(edge.data_dir / "no-config"), **environment},
    )


def test_the_command_line_does_the_same(edge: RunningEdge, tmp_path: Path) -> None:
    key = {"PORTICO_API_KEY": (edge.data_dir / "api-key").read_text().strip()}
    rules = ("--acl", "bind:a.example.com", "--acl", "bind:b.example.com")
    made = json.loads(cli(edge, "credentials", "create", "--description", "cli", *rules, **key).stdout)
    assert made["acl"] == ["bind:a.example.com", "bind:b.example.com"]
    changed = json.loads(cli(edge, "credentials", "update", made["id"], "--metadata", "m", **key).stdout)
    assert (changed["description"], changed["metadata"], changed["token"]) == ("cli", "m", None)
    listed = json.loads(cli(edge, "credentials", "list", "--limit", "1", **key).stdout)
    assert [entry["id"] for entry in listed["credentials"]] == [made["id"]]
    gone = cli(edge, "credentials", "delete", made["id"], **key)
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, "", "")

    found = json.loads(cli(edge, "endpoints", "list", "--by-url", "https://nothing.localhost", **key).stdout)
    assert found["endpoints"] == []
    certificate, private = KeyPairs(tmp_path, "CLI CA").issue("cli.example.com")
    pems = ("--certificate-pem", f"@{certificate}", "--private-key-pem", f"@{private}")
    uploaded = cli(edge, "tls-certificates", "create", *pems, **key)
    assert json.loads(uploaded.stdout)["subject_common_name"] == "cli.example.com"
    assert "PRIVATE" not in uploaded.stdout


def test_the_command_line_fails_with_the_api_s_reason(edge: RunningEdge) -> None:
    unknown = cli(edge, "credentials", "list", "--api-key", "pak_unknown")
    assert unknown.returncode == 1
    assert "the API key is not known to this edge (PORTICO_203)" in unknown.stderr
    untrusted = cli(edge, "credentials", "list", "--api-key", "k", "--api-cas", "host")
    assert untrusted.returncode == 1
    assert "PORTICO_20065" in untrusted.stderr
    assert "--api-cas" in untrusted.stderr
