"""The music service (`examples/music`) with each service in a private network of its own, behind one public name."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.browser import Browser
from kit.cli import running_agent
from kit.client_certificates import VisitorAuthority, written
from kit.dex import CLIENT_ID, CLIENT_SECRET, EMAIL, Dex, require_dex, running_dex
from kit.edge import RunningEdge, running_edge
from kit.key_pairs import KeyPairs
from kit.load import Load
from kit.polling import eventually
from kit.private_network import PrivateNetwork, private_network, require_namespaces
from kit.rows import row
from kit.visitor import Visitor

MUSIC = Path(__file__).parents[2] / "examples" / "music"
sys.path.insert(0, str(MUSIC))
import programs  # noqa: E402 - the example's folder is no package
import start  # noqa: E402
from api import Api  # noqa: E402

DOMAIN = "edge.test"
NAME = f"music.{DOMAIN}"


@dataclass(frozen=True)
class Music:
    """All of it, running."""

    edge: RunningEdge
    dex: Dex
    api: Api
    endpoints: list[str]
    networks: Mapping[str, PrivateNetwork]
    agents: Mapping[str, "subprocess.Popen[bytes]"]
    token: Callable[..., str]

    def url(self, path: str = "/", host: str = NAME) -> str:
        return f"https://{host}:{self.edge.https_port}{path}"

    def program(self, path: str, *, host: str = NAME, method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
        """Status, fields and JSON of a program's request."""
        connection = Visitor(self.edge.ca).connection(self.url(path, host))
        try:
            connection.request(method, path, headers=headers, body="So What" if method == "POST" else None)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if answer.status == 200 else text
        finally:
            connection.close()

    def person(self) -> Browser:
        """Somebody who has signed in."""

        def attempt() -> Browser:
            browser = Browser(self.edge, NAME)
            assert browser.sign_in(self.dex).status_code == 200
            return browser

        return eventually(attempt)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Music]:
    require_namespaces()
    require_dex()
    home = tmp_path_factory.mktemp("music")
    key = programs.key_of(home / "programs.key")
    with contextlib.ExitStack() as stack:
        flags = ("--domain", DOMAIN, "--https-addr", "0.0.0.0:0", "--policy-networks", "127.0.0.0/8")
        edge = stack.enter_context(running_edge(home, *flags))
        callback = f"https://{NAME}:{edge.https_port}/.portico/oauth/callback"
        dex = stack.enter_context(running_dex(home / "dex", [callback]))
        address = {
            "PORTICO_CONNECT_URL": f"connect.{DOMAIN}:{edge.https_port}",
            "PORTICO_CONNECT_CAS": str(edge.ca),
            "PORTICO_AUTHTOKEN": edge.authtoken,
            "XDG_CONFIG_HOME": str(home / "no-config"),
        }
        networks, agents = {}, {}
        for number, name in enumerate(start.MACHINES):
            networks[name] = stack.enter_context(private_network(number, home, f"connect.{DOMAIN}"))
            machine = start.Machine(name, home, address, networks[name].inside)
            agents[name] = stack.enter_context(machine.running())
        api = Api(edge.https_port, (edge.data_dir / "api-key").read_text().strip(), edge.ca, DOMAIN)
        known = {
            "keys": stack.enter_context(programs.published_keys(key)),
            "house": "@example.com",
            "issuer": dex.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        endpoints = start.publish(api, NAME, known, start.policy(provider=True))
        yield Music(edge, dex, api, endpoints, networks, agents, lambda *words: programs.token(key, *words))


def listening(pid: int) -> set[str]:
    """Addresses on which the network of a process listens, in the kernel's hexadecimal form."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A":
                found.add(local.partition(":")[0])
    return found


@row("4.2", by_hand="ss -ltnp")
def test_row_4_2_the_private_networks_have_no_open_port(music: Music) -> None:
    for name, agent in music.agents.items():
        assert listening(agent.pid) == {"0100007F"}, name  # 127.0.0.1, of its own network
        routes = Path(f"/proc/{agent.pid}/net/route").read_text().splitlines()[1:]
        assert all(line.split()[1] != "00000000" for line in routes), name  # no way but to the edge
    assert music.program("/api/search", **bearer(music.token("outside")))[0] == 200


@row("4.3", by_hand="kill -9 $(pgrep -f 'portico.* --url https://search.internal' | head -1)")
def test_row_4_3_an_agent_dies_under_load_and_no_request_is_lost(music: Music) -> None:
    load = Load(
        Visitor(music.edge.ca), music.url("/search?q=blue"), headers={"cookie": music.person().cookie}, pause=0.01
    )
    with load.on(8):
        load.passes(200)
        seen = {json.loads(body)["machine"] for body in load.bodies}
        os.kill(music.agents["search-2"].pid, signal.SIGKILL)
        load.passes(400)
        load.bodies.clear()
        load.passes(200)
    assert seen == {"search-1", "search-2", "search-3"}
    assert set(load.statuses) == {200}, load.statuses
    assert {json.loads(body)["machine"] for body in load.bodies} == {"search-1", "search-3"}


@row(
    "4.4",
    by_hand="""
    curl -u $PERSON "$URL/search?q=blue"
    curl -u $PERSON $URL/playlists
    curl -H "Authorization: Bearer $TOKEN" "$URL/api/search?q=blue"
    curl -H "Authorization: Bearer $TOKEN" "$API/search?q=blue"
    """,
)
def test_row_4_4_one_name_leads_to_every_service_by_path_and_by_host(music: Music) -> None:
    token = bearer(music.token("router"))
    for host, path in (
        (NAME, "/api/search?q=so"),
        (f"api.{NAME}", "/search?q=so"),
        (f"api.{NAME}", "/api/search?q=so"),
    ):
        status, _, told = music.program(path, host=host, **token)
        assert (status, told["songs"], told["asked_by"]) == (200, ["So What"], "router")
    assert music.program("/playlists", host=f"api.{NAME}", **token)[2]["machine"] == "playlists"
    browser = music.person()
    assert "<h1>Hello" in browser.get("/").text
    assert browser.get("/search").json()["machine"].startswith("search-")
    assert browser.get("/playlists").json()["machine"] == "playlists"
    assert browser.get("/searching").status_code == 404  # the player's own answer: prefixes end with a segment
    for service in ("search", "playlists", "web"):
        with contextlib.suppress(ssl.SSLError):  # nor is there a certificate for it
            assert Visitor(music.edge.ca).get(music.url("/", f"{service}.internal"))[0] in (404, 421)


@row("4.5", by_hand="python examples/music/start.py --issuer URL --client-id ID --client-secret SECRET")
def test_row_4_5_people_sign_in(music: Music) -> None:
    browser = Browser(music.edge, NAME)
    assert browser.get("/playlists", accept="application/json").status_code == 401
    assert browser.to_provider("/playlists").startswith(music.dex.issuer)
    browser = music.person()
    assert browser.get("/playlists").json()["of"] == EMAIL
    assert Browser(music.edge, NAME).get("/playlists").status_code == 302


@row(
    "4.5",
    by_hand="""
    curl -i $API/search
    curl -i -H "Authorization: Bearer x$TOKEN" $API/search
    curl -i -H "Authorization: Bearer $TOKEN" $API/search
    """,
)
def test_row_4_5_programs_bring_a_token(music: Music, tmp_path: Path) -> None:
    stranger = programs.token(programs.key_of(tmp_path / "strangers.key"), "radio", "write")
    for wrong in ({}, bearer("x"), bearer(stranger), bearer(music.token("radio")[:-4] + "AAAA")):
        assert music.program("/api/playlists", **wrong)[0] == 401
        assert music.program("/playlists", host=f"api.{NAME}", **wrong)[0] == 401
    reader, writer = bearer(music.token("reader")), bearer(music.token("radio", "write"))
    assert music.program("/api/playlists", **reader)[0] == 200
    assert music.program("/api/playlists", method="POST", **reader)[0] == 403
    assert music.program("/api/playlists", method="POST", **writer)[2]["playlist"] == ["So What"]


@row("4.5", by_hand='curl -u $PERSON -H "Music-Person: boss" -H "Music_Person: boss" $URL/playlists')
def test_row_4_5_nobody_says_himself_who_he_is(music: Music) -> None:
    forged = {"music-person": "boss", "Music-Program": "boss", "music_person": "boss", "ngrok-auth-user-email": "boss"}
    assert music.person().get("/playlists", **forged).json()["of"] == EMAIL
    token = bearer(music.token("honest"))
    assert music.program("/api/playlists", **token, **forged)[2]["of"] == "honest"


@row(
    "4.6",
    by_hand="""
    curl -s -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $TOKEN" "$API/search?[1-100]"
    curl -i -u $PERSON -X DELETE $URL/playlists
    """,
)
def test_row_4_6_who_asks_too_much_waits_and_others_do_not(music: Music) -> None:
    greedy = bearer(music.token("greedy"))
    load = Load(Visitor(music.edge.ca), music.url("/api/search"), headers=greedy)
    with load.on(4):
        eventually(lambda: load.statuses[429] > 0)
    assert set(load.statuses) == {200, 429}
    status, fields, _ = eventually(lambda: (seen := music.program("/api/search", **greedy))[0] == 429 and seen)
    assert status == 429
    assert int(fields["retry-after"]) > 0
    assert music.program("/api/search", **bearer(music.token("modest")))[0] == 200
    assert music.program("/api/search", method="DELETE", **bearer(music.token("modest")))[0] == 405


@row("4.6", by_hand="portico api endpoints update $ENDPOINT --traffic-policy @changed.yml")
def test_row_4_6_the_policy_changes_under_load_with_the_next_request(music: Music) -> None:
    public = music.endpoints[0]
    before = yaml.safe_load(music.api("GET", f"/endpoints/{public}")["traffic_policy"])
    browser = music.person()
    load = Load(Visitor(music.edge.ca), music.url("/search"), headers={"cookie": browser.cookie}, pause=0.02)
    with load.on(4):
        for number in range(5):
            added = {"actions": [{"type": "add-headers", "config": {"headers": {"music-policy": str(number)}}}]}
            changed = {**before, "on_http_response": [added]}
            load.passes(20)
            music.api("PATCH", f"/endpoints/{public}", traffic_policy=yaml.safe_dump(changed, sort_keys=False))
            assert browser.get("/search").headers["music-policy"] == str(number)
        load.passes(20)
        music.api("PATCH", f"/endpoints/{public}", traffic_policy=yaml.safe_dump(before, sort_keys=False))
        assert "music-policy" not in browser.get("/search").headers
    assert set(load.statuses) == {200}, load.statuses


@contextlib.contextmanager
def in_a_mesh(services: KeyPairs, mesh: VisitorAuthority) -> Iterator[int]:
    """A service that speaks only to who has a certificate of the mesh, and tells the fields it got; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=mesh.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*services.issue("playlists.mesh"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@row(
    "4.7",
    by_hand="portico http https://localhost:8443 --url https://playlists.internal --binding internal "
    "--upstream-tls-verify-cas mesh-ca.pem --upstream-client-crt mesh.pem --upstream-client-key mesh.key",
)
def test_row_4_7_a_service_in_a_mesh_gets_who_asks_over_mutual_tls(music: Music, tmp_path: Path) -> None:
    services, mesh = KeyPairs(tmp_path, "services"), VisitorAuthority("mesh")
    certificate, key = written(mesh.issue(), tmp_path, "edge-of-the-mesh")
    rules = start.policy(provider=True)["on_http_request"][:-1]
    forward = {"actions": [{"type": "forward-internal", "config": {"url": "https://meshed.internal"}}]}
    policy = json.dumps({"on_http_request": [*rules, forward]})
    with in_a_mesh(services, mesh) as port:
        flags = ("--upstream-tls-verify-cas", str(services.ca), "--upstream-client-crt")
        name = ("--upstream-tls-server-name", "playlists.mesh", "--url", "https://meshed.internal")
        upstream = ("http", f"https://127.0.0.1:{port}", "--binding", "internal", *name, *flags, str(certificate))
        with running_agent(music.edge, *upstream, "--upstream-client-key", str(key)) as agent:
            agent.url()
            host = f"api.meshed.{DOMAIN}"
            made = music.api("POST", "/endpoints", url=f"https://{host}", type="cloud", traffic_policy=policy)
            trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            sent = {**bearer(music.token("radio")), "traceparent": trace, "x-b3-sampled": "1", "music-program": "boss"}
            status, _, fields = music.program("/playlists", host=host, **sent)
            music.api("DELETE", f"/endpoints/{made['id']}")
    assert status == 200
    assert fields["music-program"] == "radio"
    assert (fields["traceparent"].split("-")[1], fields["x-b3-sampled"]) == (trace.split("-")[1], "1")
    assert fields["host"] == f"{host}:{music.edge.https_port}"
    assert fields["x-forwarded-proto"] == "https"
