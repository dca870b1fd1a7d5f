from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from portico.certificates.acme_schedule import (
    MAX_ERROR,
    MAX_WAIT,
    Budget,
    due_at,
    failed,
    is_valid,
    succeeded,
    within_window,
)
from portico.model.acme import AcmeCertificate
from portico.model.endpoint import KeyPair

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WANTED = AcmeCertificate("a.example.org", ("a.example.org",))
PAIR = KeyPair("certificate", "key")
DAYS_90 = (NOW, NOW + timedelta(days=90))
SECONDS = timedelta(seconds=1)


def issued() -> AcmeCertificate:
    return succeeded(WANTED, PAIR, DAYS_90, "https://ca/dir")


def test_what_is_wanted_is_due_at_once_and_what_is_there_at_two_thirds_of_its_time() -> None:
    assert due_at(WANTED, NOW) == NOW
    assert due_at(issued(), NOW) == NOW + timedelta(days=60)


def test_a_certificate_is_valid_within_its_time_only() -> None:
    assert not is_valid(WANTED, NOW)
    assert is_valid(issued(), NOW)
    assert not is_valid(issued(), NOW - SECONDS)
    assert not is_valid(issued(), NOW + timedelta(days=90))


def test_the_wait_doubles_up_to_its_limit_and_success_forgets_it() -> None:
    record, waits = WANTED, []
    for _ in range(12):
        record = failed(record, "no", NOW, first_wait=60, chance=0, retry_at=None)
        waits.append((due_at(record, NOW) - NOW).total_seconds())
    assert waits[:5] == [60, 120, 240, 480, 960]
    assert waits[-1] == MAX_WAIT.total_seconds()
    assert succeeded(record, PAIR, DAYS_90, "").failures == 0
    assert succeeded(record, PAIR, DAYS_90, "").next_attempt is None


def test_a_failed_renewal_leaves_the_certificate_alone() -> None:
    record = failed(issued(), "no", NOW + timedelta(days=61), first_wait=60, chance=0, retry_at=None)
    assert (record.pair, record.failures, record.last_error) == (PAIR, 1, "no")
    assert due_at(record, NOW) == NOW + timedelta(days=61, seconds=60)


@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(0, 100_000))
def test_the_wait_is_never_too_long_nor_shorter_than_the_authority_wants(
    failures: int, chance: float, later: int
) -> None:
    before = AcmeCertificate("a", ("a",), failures=failures)
    retry_at = NOW + later * SECONDS
    free = failed(before, "", NOW, first_wait=60, chance=chance, retry_at=None)
    bound = failed(before, "", NOW, first_wait=60, chance=chance, retry_at=retry_at)
    assert free.next_attempt is not None
    assert NOW + 30 * SECONDS <= free.next_attempt <= NOW + MAX_WAIT
    assert bound.next_attempt == max(free.next_attempt, retry_at)


def test_an_endless_complaint_is_cut() -> None:
    record = failed(WANTED, "x" * 10_000, NOW, first_wait=1, chance=0, retry_at=None)
    assert len(record.last_error) == MAX_ERROR


def test_a_window_moves_the_renewal_but_not_behind_the_end() -> None:
    window = (NOW + timedelta(days=10), NOW + timedelta(days=12))
    assert within_window(issued(), window, 0.5).renew_at == NOW + timedelta(days=11)
    late = (NOW + timedelta(days=200), NOW + timedelta(days=201))
    assert within_window(issued(), late, 0.5).renew_at == NOW + timedelta(days=90)


def test_a_budget_gives_its_orders_at_once_and_then_over_the_hour() -> None:
    budget = Budget.full(3, NOW)
    assert [budget.take(NOW) for _ in range(3)] == [None] * 3
    assert budget.take(NOW) == NOW + 1_200 * SECONDS
    assert budget.take(NOW + 1_200 * SECONDS) is None
    assert budget.take(NOW + 1_200 * SECONDS) is not None
    assert [budget.take(NOW + timedelta(days=9)) for _ in range(4)][:3] == [None] * 3
