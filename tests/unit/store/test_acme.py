from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from portico.model.acme import AcmeAccount, AcmeCertificate, AcmeChallenge, ChallengeKind
from portico.model.endpoint import KeyPair
from portico.store.store import Store

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
WANTED = AcmeCertificate("example.org", ("example.org", "*.example.org"))
DONE = replace(
    WANTED,
    pair=KeyPair("certificate", "key"),
    not_before=NOW,
    not_after=NOW + timedelta(days=90),
    directory="https://ca/dir",
    renew_at=NOW + timedelta(days=60),
)


def lease(store: Store, holder: str, now: datetime = NOW) -> bool:
    with store.write() as unit:
        return unit.acme.lease(WANTED, holder, now, now + timedelta(minutes=10))


def test_a_certificate_comes_back_as_it_was_kept(store: Store) -> None:
    assert lease(store, "a")
    with store.write() as unit:
        assert unit.acme.save(DONE, "a")
    with store.read() as unit:
        assert unit.acme.certificate("example.org") == DONE
        assert unit.acme.certificates() == [DONE]
        assert unit.acme.certificate("example.net") is None


def test_one_holder_at_a_time_until_the_lease_ends(store: Store) -> None:
    assert lease(store, "a")
    assert lease(store, "a")
    assert not lease(store, "b")
    assert lease(store, "b", LATER)
    with store.write() as unit:
        assert not unit.acme.save(DONE, "a")
    with store.write() as unit:
        unit.acme.release("example.org", "a")
    assert not lease(store, "c", LATER)
    with store.write() as unit:
        unit.acme.release("example.org", "b")
    assert lease(store, "c", LATER)


def test_of_many_who_ask_at_once_one_gets_the_lease(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda number: lease(store, f"node {number}"), range(8)))
    assert sum(taken) == 1


def test_an_account_is_replaced_by_a_later_one(store: Store) -> None:
    first = AcmeAccount("https://ca/dir", "", "https://ca/1", "key 1")
    second = replace(first, key_id="kid", uri="https://ca/2", key="key 2")
    for account in (first, second):
        with store.write() as unit:
            unit.acme.keep_account(account)
    with store.read() as unit:
        assert unit.acme.account("https://ca/dir") == second
        assert unit.acme.account("https://other/dir") is None
    assert "key 2" not in repr(second)


def test_challenges_are_found_by_kind_and_host_and_taken_down(store: Store) -> None:
    challenge = AcmeChallenge(ChallengeKind.HTTP, "example.org", "t", "t.print")
    with store.write() as unit:
        unit.acme.put_challenge(challenge)
        unit.acme.put_challenge(challenge)
    with store.read() as unit:
        assert unit.acme.challenges(ChallengeKind.HTTP, "example.org") == [challenge]
        assert unit.acme.challenges(ChallengeKind.TLS_ALPN, "example.org") == []
    with store.write() as unit:
        unit.acme.remove_challenge(challenge)
        unit.acme.remove_challenge(challenge)
    with store.read() as unit:
        assert unit.acme.challenges(ChallengeKind.HTTP, "example.org") == []


def test_what_nobody_needs_is_removed(store: Store) -> None:
    lease(store, "a")
    with store.write() as unit:
        unit.acme.remove("example.org")
    with store.read() as unit:
        assert unit.acme.certificates() == []
