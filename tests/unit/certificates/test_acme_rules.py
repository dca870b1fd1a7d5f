from portico.certificates.acme_rules import AcmeDirectory, AcmeRules, DnsProvider
from portico.model.acme import ChallengeKind

HTTP, TLS, DNS = ChallengeKind.HTTP, ChallengeKind.TLS_ALPN, ChallengeKind.DNS


def rules(*dns: DnsProvider) -> AcmeRules:
    return AcmeRules((AcmeDirectory("https://ca/dir"),), "", (TLS, HTTP, DNS), dns, 100, 60)


def test_wildcards_need_dns_and_dns_needs_a_provider() -> None:
    assert rules().kinds_for(("a.example.org",)) == (TLS, HTTP)
    assert rules().kinds_for(("*.example.org",)) == ()
    with_dns = rules(DnsProvider(zones=("example.org",), command="hook"))
    assert with_dns.kinds_for(("a.example.org",)) == (TLS, HTTP, DNS)
    assert with_dns.kinds_for(("example.org", "*.example.org")) == (DNS,)
    assert with_dns.kinds_for(("a.example.org", "a.example.net")) == (TLS, HTTP)


def test_the_most_specific_zone_writes() -> None:
    every, zone, below = (
        DnsProvider(command="every"),
        DnsProvider(zones=("example.org",), command="zone"),
        DnsProvider(zones=("sub.example.org", "example.net"), command="below"),
    )
    found = rules(every, zone, below)
    assert found.dns_for("a.sub.example.org") is below
    assert found.dns_for("*.example.org") is zone
    assert found.dns_for("notexample.org") is every
    assert rules(zone).dns_for("notexample.org") is None


def test_secrets_are_not_shown() -> None:
    directory = AcmeDirectory("https://ca/dir", eab_kid="kid", eab_hmac_key="hmac-secret")
    provider = DnsProvider(provider="cloudflare", options={"auth_token": "dns-secret"})
    text = repr(AcmeRules((directory,), "", (DNS,), (provider,), 1, 1))
    assert "secret" not in text
