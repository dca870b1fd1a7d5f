import pytest

from portico.agent.metrics import ConnectionFigures, ConnectionMeter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_yet() -> None:
    assert ConnectionMeter(Clock()).figures() == ConnectionFigures()


def test_counts_and_durations() -> None:
    clock = Clock()
    meter = ConnectionMeter(clock)
    for seconds in range(1, 11):
        opened = meter.opened()
        clock.now += seconds
        meter.closed(opened, bytes_in=10, bytes_out=100)
    meter.opened()
    figures = meter.figures()
    assert (figures.total, figures.open) == (11, 1)
    assert (figures.p50, figures.p90) == (6, 10)
    assert (figures.bytes_in, figures.bytes_out) == (100, 1000)


def test_rates_rise_with_connections_and_fade_in_silence() -> None:
    clock = Clock()
    meter = ConnectionMeter(clock)
    for _ in range(600):
        clock.now += 1
        meter.closed(meter.opened())
    busy = meter.figures()
    assert busy.rate1 == pytest.approx(1, abs=0.2)
    assert busy.rate5 == pytest.approx(1, abs=0.3)
    clock.now += 120
    later = meter.figures()
    assert later.rate1 < busy.rate1 / 4
    assert later.rate1 < later.rate5 < busy.rate5
    clock.now += 1e6
    assert meter.figures().rate15 < 0.05
