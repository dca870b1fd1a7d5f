import pytest

from portico.certificates.acme_rules import AcmeDirectory, AcmeRules, DnsProvider
from portico.edge.public_names import PublicNames, edge_public_names, has_wildcard, is_public
from portico.model.acme import ChallengeKind
from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import EdgeTls, Endpoint, EndpointUrl, KeyPair, Scheme

DOMAIN = "t.example.com"
OWN = (DOMAIN, f"connect.{DOMAIN}", f"api.{DOMAIN}", f"dashboard.{DOMAIN}")


def frame(domain: str = DOMAIN) -> EdgeFrame:
    return EdgeFrame(domain, SocketAddress("127.0.0.1", 443), None, "127.0.0.1", (), "", "x-mark")


def rules(*zones: str) -> AcmeRules:
    dns = (DnsProvider(zones=zones, command="hook"),) if zones else ()
    return AcmeRules((AcmeDirectory("https://ca/dir"),), "", tuple(ChallengeKind), dns, 100, 60)


def names_for(*endpoints: Endpoint, with_rules: AcmeRules | None = None, uploaded: tuple[str, ...] = ()) -> PublicNames:
    known = {endpoint.url: endpoint for endpoint in endpoints}
    return PublicNames(with_rules or rules(), frame(), known.get, uploaded.__contains__)


def endpoint(host: str, scheme: Scheme = Scheme.HTTPS, tls: EdgeTls | None = EdgeTls()) -> Endpoint:  # noqa: B008 - immutable
    return Endpoint(EndpointUrl(scheme, host, 443), (), tls)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("a.example.org", True),
        ("localhost", False),
        ("edge", False),
        ("a.localhost", False),
        ("127.0.0.1", False),
        ("a.internal", True),  # a private authority may vouch for it
    ],
)
def test_names_that_an_authority_may_vouch_for(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_the_edges_own_certificate() -> None:
    assert edge_public_names(rules(), frame()) == OWN
    assert edge_public_names(rules("example.com"), frame()) == (DOMAIN, f"*.{DOMAIN}")
    assert edge_public_names(rules("example.com"), frame("localhost")) == ()
    assert not has_wildcard(rules("example.net"), DOMAIN)


def test_only_what_is_served_with_a_certificate_of_the_edges_choice_is_asked_for() -> None:
    own_pair = EdgeTls(key_pair=KeyPair("certificate", "key"))
    names = names_for(
        endpoint("www.example.org"),
        endpoint("bytes.example.org", Scheme.TLS),
        endpoint("passing.example.org", Scheme.TLS, None),
        endpoint("paired.example.org", tls=own_pair),
        endpoint("uploaded.example.org"),
        uploaded=("uploaded.example.org",),
    )
    assert names("www.example.org") == ("www.example.org",)
    assert names("bytes.example.org") == ("bytes.example.org",)
    for host in ("passing.example.org", "paired.example.org", "uploaded.example.org", "other.example.org", "localhost"):
        assert names(host) == ()
    for host in OWN:
        assert names(host) == OWN


def test_random_names_share_the_edges_wildcard_where_there_is_one() -> None:
    random = endpoint(f"calm-pier-abcd.{DOMAIN}")
    assert names_for(random)(random.url.host) == (random.url.host,)
    assert names_for(random, with_rules=rules("example.com"))(random.url.host) == (DOMAIN, f"*.{DOMAIN}")


def test_a_wildcard_endpoint_has_a_wildcard_only_where_dns_is_written() -> None:
    wild = endpoint("*.example.org")
    assert names_for(wild)("a.example.org") == ("a.example.org",)
    with_dns = names_for(wild, with_rules=rules("example.org"))
    assert with_dns("a.example.org") == ("*.example.org",)
    assert with_dns("b.a.example.org") == ("b.a.example.org",)
