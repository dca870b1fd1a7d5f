"""`python -m benchmarks [--quick] [--only NAME] [--write]`; a whole full run writes the results and their page."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks import machine, page
from benchmarks.bench import FULL, QUICK, Bench, Size, bench
from benchmarks.figure import Benchmark, Figure, merged, summary
from benchmarks.number import number
from benchmarks.suite import ALONE, SUITE, TRAFFIC

_PROGRAMS = ("wrk", "curl")


def main() -> int:
    """The exit status: 1 where a benchmark failed, with the others done."""
    options = _options()
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        print(f"missing: {', '.join(missing)}; tests/kit/install-parts installs them", file=sys.stderr)
        return 1
    size = QUICK if options.quick else FULL
    chosen = [each for each in SUITE if not options.only or each.name in options.only]
    facts, began = machine.facts(), time.monotonic()
    found = _measure(size, chosen)
    results = _results(size, facts, chosen, found, began)
    complete = len(found) == len(SUITE)
    if options.write or (complete and size is FULL):
        page.write(results)
    print(f"\n{results['seconds']} s; {len(found)} of {len(chosen)} benchmarks", flush=True)
    return 0 if len(found) == len(chosen) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, one run, under two minutes")
    names = [each.name for each in SUITE]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help="write results and page of a quick run too")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs the whole suite: the page shows all of it")
    return options


def _measure(size: Size, chosen: Sequence[Benchmark]) -> dict[str, list[Figure]]:
    """Run what shares an edge in turn, then the others."""
    runs: dict[str, list[list[Figure]]] = {}
    with bench(size) as made:
        for group in (TRAFFIC, ALONE):
            for run in range(size.runs):
                for each in group:
                    if each in chosen and run < each.runs:
                        _run(each, made, runs.setdefault(each.name, []))
            made.leave_stage()
    return {name: merged(done) for name, done in runs.items() if done}


def _run(benchmark: Benchmark, made: Bench, done: list[list[Figure]]) -> None:
    began = time.monotonic()
    try:
        figures = benchmark.measure(made)
    except Exception as error:
        print(f"\n{benchmark.name} failed: {error}", file=sys.stderr, flush=True)
        return
    done.append(figures)
    print(f"\n{benchmark.title} ({time.monotonic() - began:.0f} s)")
    for figure in figures:
        values = summary(figure)
        spread = f"  ({number(values['lowest'])} to {number(values['highest'])})" if values["samples"] > 1 else ""
        print(f"  {figure.name:66} {number(values['median']):>10} {figure.unit}{spread}", flush=True)


def _results(
    size: Size, facts: dict[str, str], chosen: Sequence[Benchmark], found: dict[str, list[Figure]], began: float
) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "mode": "full" if size is FULL else "quick",
        "runs": size.runs,
        "seconds": round(time.monotonic() - began),
        "machine": facts,
        "benchmarks": [
            {
                "name": each.name,
                "title": each.title,
                "how": each.how,
                "figures": [summary(figure) for figure in found[each.name]],
            }
            for each in chosen
            if each.name in found
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
