from datetime import UTC, datetime, timedelta

from portico.certificates.uploads import Upload, Uploads
from portico.model.endpoint import KeyPair
from portico.model.x509 import CertificateFacts

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def upload(name: str, *names: str, owner: str = "own_1", days: float = 30, starts: float = -1) -> Upload:
    facts = CertificateFacts(name, names, NOW + timedelta(days=starts), NOW + timedelta(days=days))
    return Upload(name, owner, KeyPair(name, "key"), facts)


def best(host: str, *uploads: Upload, attached: dict[str, str] | None = None) -> str | None:
    table = Uploads(lambda owner, host: owner == "own_1" or host.startswith("bert."))
    table.replace(uploads, attached or {})
    chosen = table.best_for(host, NOW)
    return chosen.id if chosen else None


def test_exact_goes_before_wildcard_whatever_lasts_longer() -> None:
    wild, exact = upload("wild", "*.example.com", days=90), upload("exact", "a.example.com", days=10)
    assert best("a.example.com", wild, exact) == "exact"
    assert best("b.example.com", wild, exact) == "wild"


def test_a_wildcard_stands_for_one_label() -> None:
    wild = upload("wild", "*.example.com")
    assert best("a.b.example.com", wild) is None
    assert best("example.com", wild) is None
    assert best("*.example.com", wild) == "wild"


def test_the_longest_life_wins_and_the_dead_and_unborn_are_passed_over() -> None:
    uploads = [upload(f"c{days}", "a.example.com", days=days) for days in (10, 30, 20)]
    dead, unborn = upload("dead", "a.example.com", days=0), upload("unborn", "a.example.com", starts=1, days=99)
    assert best("a.example.com", *uploads, dead, unborn) == "c30"
    assert best("a.example.com", dead, unborn) is None


def test_the_one_that_a_domain_names_goes_first_while_it_is_fit() -> None:
    short, long = upload("short", "a.example.com", "*.b.example.com", days=5), upload("long", "a.example.com")
    assert best("a.example.com", short, long, attached={"a.example.com": "short"}) == "short"
    assert best("a.example.com", short, long, attached={"*.example.com": "short"}) == "short"
    assert best("a.example.com", long, attached={"a.example.com": "gone"}) == "long"
    assert best("c.example.com", short, attached={"*.example.com": "short"}) is None
    dead = upload("dead", "a.example.com", days=0)
    assert best("a.example.com", dead, long, attached={"a.example.com": "dead"}) == "long"


def test_nobodys_certificate_stands_for_somebody_elses_name() -> None:
    theirs = upload("theirs", "*.example.com", owner="own_2")
    assert best("anna.example.com", theirs) is None
    assert best("bert.example.com", theirs) == "theirs"
