"""docs/benchmarks.md from benchmarks/results/portico.json: `python -m benchmarks.page [--check]`."""

import json
import sys
from typing import Any

from benchmarks import ROOT
from benchmarks.number import number

RESULTS = ROOT / "benchmarks" / "results" / "portico.json"
PAGE = ROOT / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

Written by `make bench` from `benchmarks/results/portico.json`; do not edit. Everything runs on one machine over
loopback, each part as a process of its own, and ends by itself. Measure yours:

```console
$ make bench                          # all of it, under 15 minutes
$ python -m benchmarks --quick        # smaller numbers, under 2 minutes; prints only
$ python -m benchmarks --only bulk    # one of: {names}
```

A figure is the median of its samples, with the lowest and the highest beside it. The suite ran {runs}; what one run
repeats by itself ran once. Load generators, services and agents take their share of the same processors, so read
the figures as relations (“no tunnel” is the same service with nothing between), and absolute ones with the machine.

"""


def page(results: dict[str, Any]) -> str:
    """The page of these results."""
    benchmarks = results["benchmarks"]
    names = ", ".join(each["name"] for each in benchmarks)
    machine = "".join(f"| {name} | {value} |\n" for name, value in results["machine"].items())
    return (
        _INTRODUCTION.format(names=names, runs=_times(results["runs"]))
        + f"## The machine\n\nMeasured on {results['date']}{_mode(results)}.\n\n| | |\n|---|---|\n{machine}"
        + "".join(map(_section, benchmarks))
    )


def write(results: dict[str, Any]) -> None:
    """Both files."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(results))


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
    text = page(json.loads(RESULTS.read_text()))
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
