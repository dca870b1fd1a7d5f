"""docs/benchmarks.md from benchmarks/results: `python -m benchmarks.page [--check]`.

portico.json has our own figures; peers.json and gateways.json, where they are there, have others' beside ours.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import ROOT, comparison
from benchmarks.number import number

DIRECTORY = ROOT / "benchmarks" / "results"
RESULTS = DIRECTORY / "portico.json"
PEERS, GATEWAYS = "peers", "gateways"
PAGE = ROOT / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

Written by `make bench` and `make bench-peers` from `benchmarks/results/`; do not edit. Everything runs on one machine
over loopback, each part as a process of its own, and ends by itself. Measure yours:

```console
$ make bench                          # our own figures, all of them, under 15 minutes
$ make bench-peers                    # peers and gateways beside us: builds them once, then about 45 minutes
$ python -m benchmarks --quick        # smaller numbers, under 2 minutes; prints only
$ python -m benchmarks --only bulk    # one of: {names}
$ python -m benchmarks.peers --quick  # likewise `benchmarks.gateways`, and both with --only and --contender
```

A figure is the median of its samples, with the lowest and the highest beside it. The suite ran {runs}; what one run
repeats by itself ran once. Load generators, services and agents take their share of the same processors, so read
the figures as relations (“no tunnel” is the same service with nothing between), and absolute ones with the machine.

"""
_CHARTS = "../benchmarks/results"
_TITLES = {PEERS: "Beside peers: tunnels", GATEWAYS: "Beside peers: the edge as a gateway"}


def page(results: dict[str, Any], comparisons: Mapping[str, dict[str, Any]]) -> str:
    """The page of these results; `comparisons` by name."""
    benchmarks = results["benchmarks"]
    names = ", ".join(each["name"] for each in benchmarks)
    machine = "".join(f"| {name} | {value} |\n" for name, value in results["machine"].items())
    return (
        _INTRODUCTION.format(names=names, runs=_times(results["runs"]))
        + f"## The machine\n\nMeasured on {results['date']}{_mode(results)}.\n\n| | |\n|---|---|\n{machine}"
        + "".join(map(_section, benchmarks))
        + "".join(f"\n## {_TITLES[name]}\n\n{comparison.section(each, _CHARTS)}" for name, each in comparisons.items())
    )


def write(results: dict[str, Any]) -> None:
    """Our own results, and the page."""
    _write_json(RESULTS, results)
    PAGE.write_text(current())


def write_comparison(name: str, results: dict[str, Any]) -> None:
    """The results of a comparison (`PEERS`, `GATEWAYS`), its charts, and the page."""
    _write_json(DIRECTORY / f"{name}.json", results)
    for work in results["works"]:
        if work["plot"]:
            comparison.plot(work, results["contenders"], DIRECTORY / work["plot"])
    PAGE.write_text(current())


def current() -> str:
    """The page of the results that there are."""
    paths = {name: DIRECTORY / f"{name}.json" for name in _TITLES}
    comparisons = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    return page(json.loads(RESULTS.read_text()), comparisons)


def _write_json(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def _times(runs: int) -> str:
    return "once" if runs == 1 else f"{runs} times"


def _mode(results: dict[str, Any]) -> str:
    return "" if results["mode"] == "full" else f" ({results['mode']} run)"


def _section(benchmark: dict[str, Any]) -> str:
    rows = "".join(map(_row, benchmark["figures"]))
    head = "| figure | median | lowest | highest | unit | samples |\n|---|--:|--:|--:|---|--:|\n"
    return f"\n## {benchmark['title']}\n\n{benchmark['how']}\n\n{head}{rows}"


def _row(figure: dict[str, Any]) -> str:
    values = " | ".join(number(figure[key]) for key in ("median", "lowest", "highest"))
    return f"| {figure['name']} | {values} | {figure['unit']} | {figure['samples']} |\n"


def main() -> int:
    """Write the page, or with --check tell by the exit status whether it is what the results say."""
    text = current()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
