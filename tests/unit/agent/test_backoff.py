from hypothesis import given
from hypothesis import strategies as st

from portico.agent.backoff import Backoff


def test_the_first_retry_is_immediate_and_the_bound_doubles_up_to_the_longest() -> None:
    bounds: list[float] = []

    def upper(low: float, high: float) -> float:
        assert low == 0
        bounds.append(high)
        return high

    backoff = Backoff(uniform=upper)
    assert backoff.next_delay() == 0
    for _ in range(12):
        backoff.next_delay()
    assert bounds[:8] == [0.25, 0.5, 1, 2, 4, 8, 16, 30]
    assert set(bounds[8:]) == {30}
    backoff.reset()
    assert backoff.next_delay() == 0


def test_eager_attempts_come_quickly_before_the_bound_doubles_on() -> None:
    bounds: list[float] = []
    backoff = Backoff(eager=5, uniform=lambda _, high: bounds.append(high) or high)
    for _ in range(14):
        backoff.next_delay()
    assert bounds == [0.25, 0.5, 0.5, 0.5, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 5000))
def test_delays_stay_between_nothing_and_the_longest(attempts: int) -> None:
    backoff = Backoff()
    assert all(0 <= backoff.next_delay() <= 30 for _ in range(attempts))
