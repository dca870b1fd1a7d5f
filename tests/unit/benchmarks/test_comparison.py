"""Samples become rows, tables and charts; what is best and who is ahead is read off them."""

import time
from pathlib import Path
from typing import Any

import pytest
from benchmarks import comparison, page
from benchmarks.comparison import Lead, Named, Record, Sample, Work

RATE = Work("rate", "Requests", "How it is done.", "requests/s", "higher", "peers-rate.png")
DELAY = Work("delay", "Latency", "How it is done.", "ms", "lower")
CONTENDERS = (Named("no tunnel", "limit", "the service"), Named("portico", "ours", "us"), Named("frp", "peer", "frp"))
LEADS = (Lead("portico : frp", "portico", ("frp", "absent")),)


def found(*samples: Sample, **failed: str) -> dict[str, Any]:
    record = Record(list(samples), {("rate", name): reason for name, reason in failed.items()})
    about = {"mode": "full", "rounds": 3, "machine": {}, "versions": {"frp": "1.0"}, "missing": {"bore": "no cargo"}}
    return comparison.results(record, (RATE, DELAY), CONTENDERS, LEADS, about, time.monotonic())


def rates(contender: str, *values: float, row: str = "1 connection") -> list[Sample]:
    return [Sample("rate", row, contender, value) for value in values]


def test_a_row_has_the_median_and_the_spread_of_its_samples() -> None:
    works = found(*rates("frp", 3.0, 1.0, 9.0))["works"]
    assert works[0]["rows"] == [
        {"row": "1 connection", "contender": "frp", "median": 3.0, "lowest": 1.0, "highest": 9.0, "samples": 3}
    ]


def test_a_work_without_samples_is_left_out() -> None:
    assert [work["name"] for work in found(*rates("frp", 1.0))["works"]] == ["rate"]


def test_the_best_contender_is_bold_and_a_limit_never() -> None:
    work = found(*rates("no tunnel", 900.0), *rates("portico", 300.0), *rates("frp", 200.0))["works"][0]
    lines = comparison.table(work, found()["contenders"], found()["leads"]).splitlines()
    assert lines[0] == "| requests/s | no tunnel | portico | frp | portico : frp |"
    assert lines[2] == "| 1 connection | 900 | **300** | 200 | 1.50 |"


def test_where_less_is_better_a_lead_is_still_above_one() -> None:
    samples = [Sample("delay", "p99", "portico", 2.0), Sample("delay", "p99", "frp", 6.0)]
    work = found(*samples)["works"][0]
    assert comparison.table(work, found()["contenders"], found()["leads"]).splitlines()[2] == (
        "| p99 | **2** | 6 | 3.00 |"
    )


@pytest.mark.parametrize("seen", [{}, {"portico": 1.0}, {"frp": 1.0}])
def test_there_is_no_lead_where_a_side_is_missing(seen: dict[str, float]) -> None:
    assert comparison.lead(seen, {"ours": "portico", "others": ["frp"]}, "higher") is None


def test_a_lead_over_nothing_is_not_a_number_to_print() -> None:
    assert comparison.lead({"portico": 1.0, "frp": 0.0}, {"ours": "portico", "others": ["frp"]}, "higher") is None


def test_cells_and_columns_without_values_do_not_hide_the_others() -> None:
    work = found(*rates("portico", 5.0), *rates("frp", 4.0, row="32 connections"))["works"][0]
    lines = comparison.table(work, found()["contenders"], found()["leads"]).splitlines()
    assert lines[0] == "| requests/s | portico | frp |"
    assert lines[2:] == ["| 1 connection | **5** | - |", "| 32 connections | - | **4** |"]


def test_the_section_names_who_is_missing_and_what_failed() -> None:
    text = comparison.section(found(*rates("portico", 5.0), frp="it fell over"), "results")
    assert "* bore is missing: no cargo" in text
    assert "frp failed: it fell over" in text
    assert "![Requests](results/peers-rate.png)" in text


def test_the_page_holds_the_comparisons_that_there_are() -> None:
    own = {"benchmarks": [], "machine": {}, "date": "2026-11-21", "runs": 3, "mode": "full"}
    compared = found(*rates("portico", 5.0), *rates("frp", 4.0))
    assert "Beside peers" not in page.page(own, {})
    assert "## Beside peers: tunnels\n" in page.page(own, {page.PEERS: compared})
    assert "| 1 connection | **5** | 4 | 1.25 |" in page.page(own, {page.PEERS: compared})


def test_a_failure_alone_is_told_too() -> None:
    text = comparison.text(found(frp="it fell over"))
    assert "frp, Requests: it fell over" in text
    assert "bore is missing: no cargo" in text


def test_everyone_begins_a_round_in_turn() -> None:
    assert list(comparison.alternating("abc", 3)) == list("abc" + "bca" + "cab")
    assert list(comparison.alternating((), 3)) == []


def test_a_failure_is_noted_for_its_works_and_the_run_goes_on() -> None:
    def broken() -> list[Sample]:
        raise RuntimeError("no answer")

    record = Record()
    assert isinstance(comparison.gather(record, ("rate", "delay"), "frp", broken), RuntimeError)
    assert comparison.gather(record, ("rate",), "portico", lambda: rates("portico", 1.0)) is None
    assert record.failed == {("rate", "frp"): "no answer", ("delay", "frp"): "no answer"}
    assert record.samples == rates("portico", 1.0)


def test_a_chart_is_drawn_of_rows_with_gaps(tmp_path: Path) -> None:
    samples = [*rates("no tunnel", 9_000.0), *rates("portico", 3.0, 4.0, 5.0), *rates("frp", 2.0, row="2")]
    comparison.plot(found(*samples)["works"][0], found()["contenders"], tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
