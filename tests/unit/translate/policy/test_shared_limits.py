"""The Lua of rate limits that nodes count together."""

from typing import Any

import msgspec
import pytest

from kit.limited import Clock, Visit, Worker, lease, limit
from portico.gate.questions import Limit
from portico.model.limits import SHARES, SharedCounts
from portico.translate.policy.together import Together

AMONG = Together("me https://a.test", SharedCounts(2))
CAPACITY = 40


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(clock: Clock) -> Worker:
    return Worker(clock)


def question(visit: Visit) -> Limit:
    assert visit.question is not None
    assert visit.path == "/limits"
    return msgspec.json.decode(visit.question, type=Limit)


def answered(visit: Visit, granted: int, seconds: float = 60) -> Visit:
    visit.tell(*lease(granted, seconds))
    assert visit.question is None
    return visit


def test_a_lease_is_handed_out_without_a_question(worker: Worker) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    first = worker.begin(action)
    asked = question(first)
    assert (asked.capacity, asked.seconds, asked.wanted) == (CAPACITY, 60, 1)
    assert answered(first, 3).passed
    for _ in range(2):
        visit = worker.begin(action)
        assert visit.question is None
        assert visit.passed
    assert question(worker.begin(action)).wanted == 3, "as many as it has had"


def test_a_refusal_is_remembered_until_its_window_ends(worker: Worker, clock: Clock) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    assert answered(worker.begin(action), 0, 7.2).waits == 8
    clock.now += 5
    again = worker.begin(action)
    assert (again.question, again.waits) == (None, 3)
    clock.now += 2.5
    assert question(worker.begin(action)).wanted == 1


def test_a_lease_ends_with_its_window(worker: Worker, clock: Clock) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    answered(worker.begin(action), 4, 10)
    clock.now += 10
    assert worker.begin(action).question


def test_keys_are_told_by_their_digest_and_counted_apart(worker: Worker) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    one, other = worker.begin(action, "/secret"), worker.begin(action, "/b")
    assert one.question
    assert b"secret" not in one.question
    assert question(one).limit == question(other).limit
    assert question(one).key != question(other).key
    answered(one, 0)
    answered(other, 2)
    assert not worker.begin(action, "/secret").passed
    assert worker.begin(action, "/b").passed


def test_what_is_only_counted_ends_no_visit(worker: Worker) -> None:
    action = worker.action(limit(1, enforce=False), AMONG)
    first, second = answered(worker.begin(action), 1), answered(worker.begin(action), 0)
    assert first.passed
    assert second.passed
    assert worker.result(first) == {"bucket_key": '["/"]', "limited": False}
    assert worker.result(second) == {"bucket_key": '["/"]', "limited": True}
    assert worker.result(worker.begin(action))["limited"] is True


def test_several_visits_may_wait_for_the_same_key(worker: Worker) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    waiting = [worker.begin(action) for _ in range(3)]
    assert all(visit.question for visit in waiting)
    answered(waiting[0], 2)
    answered(waiting[1], 2)
    assert answered(waiting[2], 0).passed, "of what the others were given and have left"
    assert worker.begin(action).passed
    last = worker.begin(action)
    assert (last.question, last.passed) == (None, False)


def test_an_answer_of_the_next_window_does_not_prolong_the_last(worker: Worker, clock: Clock) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    slow = worker.begin(action)
    answered(worker.begin(action), 5, 1)
    answered(slow, 1, 60)
    assert question(worker.begin(action)).wanted == 1


@pytest.mark.parametrize(
    "answer", [(503, b""), (500, b""), (200, b""), (200, b"{"), (400, b'{"granted":5,"seconds":60}'), (200, b"{}")]
)
def test_without_the_gate_a_worker_has_its_share(worker: Worker, clock: Clock, answer: tuple[int, bytes]) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    first = worker.begin(action)
    while first.question:
        first.tell(*answer)
    assert first.passed
    visits = [worker.begin(action) for _ in range(CAPACITY)]
    assert not any(visit.question for visit in visits), "it is left alone for a while"
    assert 1 + sum(visit.passed for visit in visits) == CAPACITY // SHARES // 2
    assert {visit.waits for visit in visits if not visit.passed} == {5}
    assert len(worker.said) == 1
    assert "PORTICO_20048" in worker.said[0]
    clock.now += 21
    again = worker.begin(action)
    assert again.question, "it may be back"
    while again.question:
        again.tell(*answer)
    assert not again.passed, "the share is that of a whole window"
    assert len(worker.said) == 1
    clock.now += 21
    assert answered(worker.begin(action), 2).passed
    assert worker.begin(action).passed


def test_a_clock_that_is_set_back_keeps_nothing(worker: Worker, clock: Clock) -> None:
    action = worker.action(limit(CAPACITY), AMONG)
    answered(worker.begin(action), 0)
    clock.now -= 3600
    assert worker.begin(action).question
    broken = worker.begin(action, "/b")
    while broken.question:
        broken.tell(500, b"")
    clock.now -= 3600
    assert worker.begin(action, "/b").question


def test_limits_are_those_of_one_action_of_one_endpoint(worker: Worker) -> None:
    def named(among: Together = AMONG, **more: Any) -> str:
        return question(worker.begin(worker.action(limit(CAPACITY, **more), among))).limit

    other = Together("me https://b.test", SharedCounts(2))
    assert named() == named(Together(AMONG.endpoint, SharedCounts(16))), "nodes differ"
    assert len({named(), named(other), named(name="m"), named(seconds=70), named(enforce=False)}) == 5
