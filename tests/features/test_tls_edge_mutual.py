"""Mutual TLS at a real edge: who stays outside and with which alert, who comes in, and that there is no way around.

Rows of the seeds' second document (S2); openssl and curl are the visitors.
"""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

import portico
from kit.client_certificates import HOUR, SERVER, VisitorAuthority, written
from kit.curl import curl
from kit.edge import running_edge
from kit.polling import eventually
from kit.recorder import recording_upstream
from kit.tls_edge import DOMAIN, TlsEdge
from kit.visitor import Visitor
from portico.model.endpoint import KeyPair
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

members, strangers = VisitorAuthority("members"), VisitorAuthority("strangers")
ANN = members.issue("Ann", dns=["ann.example", "ann2.example"], email=["ann@example.com"])
REVOKED = members.issue("Revoked")
UNFIT: dict[str, tuple[KeyPair | None, int, int, str]] = {
    # what is shown: the alert in TLS 1.2, in TLS 1.3 (RFC 5246, 7.2; RFC 8446, 6.2), and the reason in the log
    "none": (None, 40, 116, "peer did not provide required client certificate"),
    "of a stranger's CA": (strangers.issue("Mallory"), 48, 48, "unable to get local issuer certificate"),
    "expired": (members.issue("Old", starts=-3 * HOUR, lasts=HOUR), 45, 45, "certificate has expired"),
    "not yet valid": (members.issue("Early", starts=HOUR), 45, 45, "certificate is not yet valid"),
    "for servers": (members.issue("Server", usage=SERVER), 43, 43, "unsupported certificate purpose"),
    "revoked": (REVOKED, 44, 44, "certificate revoked"),
}
STRICT = ["https://strict.edge.test", "https://strict.own.test", "tls://strict-tls.edge.test"]
"""Under the edge's certificate, under one made on demand, and without HTTP."""
VERSIONS = ["-tls1_2", "-tls1_3"]
FAILED = "a visitor's handshake failed"
BUNDLE = members.pem + members.revocations(REVOKED)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsEdge]:
    directory = tmp_path_factory.mktemp("tls-edge")
    with running_edge(directory, "--domain", DOMAIN) as edge, recording_upstream() as upstream:
        yield TlsEdge(edge, upstream, directory)
        portico.kill()


@pytest.fixture(scope="module")
def strict(tls: TlsEdge) -> Iterator[TlsEdge]:
    """With the endpoints that demand a member's certificate, and one that demands nothing."""
    with ExitStack() as stack:
        for url in STRICT:
            ended = {"terminate_at": "edge"} if url.startswith("tls") else {}
            stack.enter_context(tls.serving(url, mutual_tls_cas=BUNDLE, **ended))
        stack.enter_context(tls.serving("https://others.edge.test", mutual_tls_cas=strangers.pem))
        stack.enter_context(tls.serving("https://open.edge.test"))
        yield tls


def host_of(url: str) -> str:
    return url.partition("://")[2]


@pytest.mark.parametrize("shown", UNFIT)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("url", STRICT)
def test_row_2_11_an_unfit_certificate_ends_the_handshake(strict: TlsEdge, url: str, version: str, shown: str) -> None:
    pair, in_1_2, in_1_3, reason = UNFIT[shown]
    connections, received = strict.upstream.connections, len(strict.upstream.received)
    visit = strict.visit(host_of(url), version, pair=pair)
    assert visit.alert == (in_1_2 if version == "-tls1_2" else in_1_3)
    assert "HTTP/1.1 200" not in visit.text

    def logged() -> bool:
        lines = [line for line in strict.log(FAILED) if line.get("server_name") == host_of(url)]
        return any(reason in line["reason"] for line in lines)

    eventually(logged)
    assert (strict.upstream.connections, len(strict.upstream.received)) == (connections, received)


def test_row_2_11_the_log_names_the_certificate_and_the_metrics_count(strict: TlsEdge) -> None:
    before = strict.metric("envoy_ssl_fail_verify_error"), strict.metric("envoy_ssl_fail_verify_no_cert")
    strict.visit("strict.edge.test", pair=UNFIT["of a stranger's CA"][0])
    strict.visit("strict.edge.test")
    eventually(lambda: strict.metric("envoy_ssl_fail_verify_error") > before[0])
    eventually(lambda: strict.metric("envoy_ssl_fail_verify_no_cert") > before[1])
    lines = eventually(lambda: [line for line in strict.log(FAILED) if line.get("subject") == "CN=Mallory"])
    assert lines[-1]["issuer"] == "CN=strangers"
    assert lines[-1]["visitor"].startswith("127.0.0.1:")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("url", STRICT)
def test_row_2_1_a_member_comes_in(strict: TlsEdge, url: str, version: str) -> None:
    visit = strict.visit(host_of(url), version, pair=ANN)
    assert (visit.alert, visit.version) == (None, "TLSv1." + version[-1])
    assert "HTTP/1.1 200" in visit.text


def test_row_2_13_curl_with_two_files_and_with_one(strict: TlsEdge, tmp_path: Path) -> None:
    certificate, key = written(ANN, tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    url = f"https://strict.edge.test:{strict.port}"
    assert curl(url, strict.edge.ca, "--cert", str(certificate), "--key", str(key)).status == 200
    assert curl(url, strict.edge.ca, "--cert", str(both)).status == 200
    refused = curl(url, strict.edge.ca)
    assert (refused.status, refused.exit > 0) == (0, True)


@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_row_2_9_any_of_several_authorities(tls: TlsEdge, scheme: str) -> None:
    bundle = "".join(VisitorAuthority(f"CA {number}").pem for number in range(8)) + members.pem + strangers.pem
    ended = {"terminate_at": "edge"} if scheme == "tls" else {}
    with tls.serving(f"{scheme}://several.edge.test", mutual_tls_cas=bundle, **ended) as host:
        for pair in (ANN, strangers.issue()):
            assert "HTTP/1.1 200" in tls.visit(host, pair=pair).text
        assert tls.visit(host, pair=VisitorAuthority("a third").issue()).alert == 48


def test_row_2_9_eleven_authorities_are_too_many(tls: TlsEdge) -> None:
    bundle = [VisitorAuthority(f"CA {number}").pem for number in range(11)]
    with (
        pytest.raises(PorticoError, match="11 authorities"),
        tls.serving("https://eleven.edge.test", terminate_tls={"mutual_tls_certificate_authorities": bundle}),
    ):
        pass


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (VisitorAuthority("Leaf", is_ca=False).pem, "'Leaf'.* is not a CA"),
        (VisitorAuthority("Old", starts=-3 * HOUR, lasts=HOUR).pem, "'Old'.* expired on"),
        ("nothing", "no PEM certificate"),
        (members.pem + strangers.revocations(), "'CN=strangers' is of no CA"),
    ],
)
def test_row_2_10_unfit_authorities_are_refused(tls: TlsEdge, pem: str, words: str) -> None:
    policy = {"mutual_tls_certificate_authorities": [pem]}
    for scheme in ("https", "tls"):
        with (
            pytest.raises(PorticoError, match=words) as refused,
            tls.serving(f"{scheme}://unfit.edge.test", terminate_tls=policy),
        ):
            pass
        assert str(CERTIFICATE_INVALID) in str(refused.value)


def test_intermediates_that_visitors_bring(strict: TlsEdge) -> None:
    office = members.intermediate("office")
    clerk = office.issue("Clerk")
    with strict.serving("https://chain.edge.test", mutual_tls_cas=members.pem) as host:
        assert "HTTP/1.1 200" in strict.visit(host, pair=clerk).text
        alone = KeyPair(clerk.certificate.replace(office.pem, ""), clerk.key)
        assert strict.visit(host, pair=alone).alert == 48


STRATEGIES = [
    # strategy, and whether nobody's, a member's, a stranger's certificate is let in
    ("require-and-verify", False, True, False),
    ("verify-if-given", True, True, False),
    ("require-any", False, True, True),
    ("request", True, True, True),
]


@pytest.mark.parametrize("scheme", ["https", "tls"])
@pytest.mark.parametrize(("strategy", "nobody", "member", "stranger"), STRATEGIES)
def test_strategies(tls: TlsEdge, scheme: str, strategy: str, nobody: bool, member: bool, stranger: bool) -> None:
    policy = {"mutual_tls_certificate_authorities": [members.pem], "mutual_tls_verification_strategy": strategy}
    with tls.serving(f"{scheme}://asks.edge.test", terminate_tls=policy) as host:
        for pair, welcome in ((None, nobody), (ANN, member), (strangers.issue(), stranger)):
            for version in VERSIONS:
                assert ("HTTP/1.1 200" in tls.visit(host, version, pair=pair).text) is welcome


def told(body: str) -> dict[str, str]:
    """The fields of a request as the upstream got it."""
    lines = [line.partition(":") for line in body.splitlines()[1:] if line]
    return {name.lower(): value.strip() for name, _, value in lines}


def test_the_upstream_is_told_whose_certificate_it_was(strict: TlsEdge, tmp_path: Path) -> None:
    certificate, key = written(ANN, tmp_path)
    for host in ("strict.edge.test", "strict.own.test"):
        flags = ("--cert", str(certificate), "--key", str(key))
        fields = told(curl(f"https://{host}:{strict.port}", strict.edge.ca, *flags).body)
        assert fields["ngrok-mtls-subject-cn"] == "Ann"
        assert fields["ngrok-mtls-subject-alt-name-dns"] == "ann.example,ann2.example"
        assert fields["ngrok-mtls-email-addresses"] == "ann@example.com"
        serial = subprocess.run(
            ["openssl", "x509", "-noout", "-serial", "-in", str(certificate)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert fields["ngrok-mtls-serial-number"] == serial.stdout.strip().partition("=")[2].lower()
        assert 'Subject="CN=Ann"' in fields["x-forwarded-client-cert"]


FORGED = [
    "ngrok-mtls-subject-cn",
    "Ngrok-Mtls-Subject-Alt-Name-Dns",
    "NGROK-MTLS-EMAIL-ADDRESSES",
    "ngrok-mtls-serial-number",
    "X-Forwarded-Client-Cert",
    "ngrok_mtls_subject_cn",
    "ngrok_mtls_serial_number",
    "x_forwarded_client_cert",
    "ngrok-mtls_subject-cn",
    "Ngrok_Mtls-Email_Addresses",
    "X-Forwarded_Client-Cert",
]


@pytest.mark.parametrize("flags", [(), ("--http1.1",)])
def test_no_visitor_forges_these_headers(strict: TlsEdge, tmp_path: Path, flags: tuple[str, ...]) -> None:
    plain = members.issue("Plain")
    certificate, key = written(plain, tmp_path)
    forged = [word for name in FORGED for word in ("-H", f"{name}: forged")]
    for host in ("strict.edge.test", "open.edge.test"):
        shown = ("--cert", str(certificate), "--key", str(key)) if host.startswith("strict") else ()
        answer = curl(f"https://{host}:{strict.port}", strict.edge.ca, *shown, *forged, *flags)
        assert (answer.status, "forged" in answer.body) == (200, False)
        assert told(answer.body).get("ngrok-mtls-subject-cn") == ("Plain" if shown else None)


def test_no_visitor_of_plain_http_forges_them(strict: TlsEdge) -> None:
    forged = [word for name in FORGED for word in ("-H", f"{name}: forged")]
    with strict.serving("http://plain.edge.test") as host:
        answer = curl(f"http://{host}:{strict.edge.http_port}", strict.edge.ca, *forged)
        assert (answer.status, "forged" in answer.body) == (200, False)


def spellings(host: str, port: int) -> list[str]:
    return [host, host.upper(), host.title(), f"{host}.", f"{host}:{port}", f"{host}.:{port}", f"{host}:443"]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("target", ["strict.edge.test", "strict.own.test"])
@pytest.mark.parametrize("entrance", ["open.edge.test", "others.edge.test"])
def test_no_way_around_by_the_host_header(
    strict: TlsEdge, tmp_path: Path, entrance: str, target: str, version: str
) -> None:
    """The second entrance demands certificates, too, but of other authorities."""
    certificate, key = written(strangers.issue(), tmp_path)
    shown = ("--cert", str(certificate), "--key", str(key)) if entrance.startswith("others") else ()
    received = len(strict.upstream.received)
    for host in spellings(target, strict.port):
        inner = ("-H", f"x-edge-class: https://{target}", "-H", f"x-edge-host: {target}", "-H", f"Host: {host}")
        answer = curl(f"https://{entrance}:{strict.port}", strict.edge.ca, version, *shown, *inner)
        assert answer.status == 421
    assert len(strict.upstream.received) == received


async def test_no_way_around_by_http2_coalescing(strict: TlsEdge) -> None:
    """One HTTP/2 connection, whose certificate covers both names, asks for both (RFC 9113, 9.1.1)."""
    visitor = Visitor(strict.edge.ca)
    transport = httpx.AsyncHTTPTransport(verify=visitor._context, http2=True)
    async with httpx.AsyncClient(transport=transport, timeout=60) as client:
        for host, status in (("open.edge.test", 200), ("strict.edge.test", 421), ("open.edge.test", 200)):
            answer = await client.get(
                f"https://127.0.0.1:{strict.port}/",
                headers={"host": host},
                extensions={"sni_hostname": "open.edge.test"},
            )
            assert (answer.status_code, answer.http_version) == (status, "HTTP/2")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_one_endpoint_opens_no_other(strict: TlsEdge, tmp_path: Path, version: str) -> None:
    session = tmp_path / "session.pem"
    strict.visit("open.edge.test", version, "-sess_out", str(session))
    again = strict.visit("strict.edge.test", version, "-sess_in", str(session))
    assert (again.reused, again.alert) == (False, 40 if version == "-tls1_2" else 116)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_is_still_whose_it_was(strict: TlsEdge, tmp_path: Path, version: str) -> None:
    session = tmp_path / "session.pem"
    strict.visit("strict.edge.test", version, "-sess_out", str(session), pair=ANN)
    again = strict.visit("strict.edge.test", version, "-sess_in", str(session))
    assert again.reused
    assert "ngrok-mtls-subject-cn: Ann" in again.text
