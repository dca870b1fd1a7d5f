"""Contenders beside each other on the same work: values, their results as JSON, tables, and bar charts.

{"date", "mode", "rounds", "seconds", "machine": {name: text}, "versions": {name: text}, "missing": {name: reason},
 "contenders": [{"name", "role", "what"}], "leads": [{"title", "ours", "others"}],
 "works": [{"name", "title", "how", "unit", "better", "plot", "failed": {contender: reason},
            "rows": [{"row", "contender", "median", "lowest", "highest", "samples"}]}]}
"""

import statistics
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from benchmarks.number import number

T = TypeVar("T")
Role = Literal["ours", "peer", "limit"]
"""A limit is no contender: what the machine does with nothing between."""
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Named:
    """A contender as tables and charts show it."""

    name: str
    role: Role
    what: str
    """One sentence: what runs, and how it is configured."""


@dataclass(frozen=True)
class Lead:
    """A column of ratios: ours beside the best of others. Above 1 we are ahead, whichever direction is better."""

    title: str
    ours: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What is measured, in words for the page, and how; one unit for all of its rows."""

    name: str
    title: str
    how: str
    unit: str
    better: Better
    plot: str = ""
    """File name of its chart, beside the results; empty for none."""


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    work: str
    row: str
    contender: str
    value: float


@dataclass
class Record:
    """All samples of a run, and what failed, by (work, contender)."""

    samples: list[Sample] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def alternating(items: Sequence[T], rounds: int) -> Iterator[T]:
    """Every item once a round; each round begins with the next one, so that nobody always runs first."""
    for turn in range(rounds):
        first = turn % len(items) if items else 0
        yield from (*items[first:], *items[:first])


def gather(
    record: Record, works: Sequence[str], contender: str, measure: Callable[[], Iterable[Sample]]
) -> Exception | None:
    """Add what `measure` gives to `record`; an error is noted for its works, and returned, and the run goes on."""
    try:
        record.samples += measure()
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:300]
        record.failed.update(dict.fromkeys(((work, contender) for work in works), reason))
        return error
    return None


def results(
    record: Record,
    works: Sequence[Work],
    contenders: Sequence[Named],
    leads: Sequence[Lead],
    about: dict[str, Any],
    began: float,
) -> dict[str, Any]:
    """The JSON of a run that began at `began` (`time.monotonic`); `about`: mode, rounds, machine, versions, missing."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began),
        **about,
        "contenders": [asdict(each) for each in contenders],
        "leads": [asdict(each) for each in leads],
        "works": [_tallied(work, record) for work in works if _touched(work, record)],
    }


def _touched(work: Work, record: Record) -> bool:
    return any(each.work == work.name for each in record.samples) or any(name == work.name for name, _ in record.failed)


def _tallied(work: Work, record: Record) -> dict[str, Any]:
    values: dict[tuple[str, str], list[float]] = {}
    for each in record.samples:
        if each.work == work.name:
            values.setdefault((each.row, each.contender), []).append(each.value)
    failed = {contender: reason for (name, contender), reason in record.failed.items() if name == work.name}
    rows = [
        {
            "row": row,
            "contender": contender,
            "median": _digits(statistics.median(seen)),
            "lowest": _digits(min(seen)),
            "highest": _digits(max(seen)),
            "samples": len(seen),
        }
        for (row, contender), seen in values.items()
    ]
    return {**asdict(work), "failed": failed, "rows": rows}


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def medians(work: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{row: {contender: median}}, rows as they came."""
    found: dict[str, dict[str, float]] = {}
    for each in work["rows"]:
        found.setdefault(each["row"], {})[each["contender"]] = each["median"]
    return found


def lead(seen: dict[str, float], wanted: dict[str, Any], better: Better) -> float | None:
    """How far ours is ahead of the best of the others in one row; none where a side was not measured."""
    others = [seen[name] for name in wanted["others"] if name in seen]
    ours = seen.get(wanted["ours"])
    if ours is None or not others:
        return None
    best = max(others) if better == "higher" else min(others)
    above, below = (ours, best) if better == "higher" else (best, ours)
    return above / below if above > 0 and below > 0 else None


def table(work: dict[str, Any], contenders: Sequence[dict[str, Any]], leads: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line for each row, a column for each contender that has values, the best in bold; then the leads."""
    seen = medians(work)
    named = [each for each in contenders if any(each["name"] in row for row in seen.values())]
    shown = [each for each in leads if any(lead(row, each, work["better"]) is not None for row in seen.values())]
    head = [work["unit"], *(each["name"] for each in named), *(each["title"] for each in shown)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for row, values in seen.items():
        best = _best(values, named, work["better"])
        cells = [_cell(values.get(each["name"]), best, each["role"]) for each in named]
        cells += [_ratio(lead(values, each, work["better"])) for each in shown]
        lines.append("| " + " | ".join([row, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _best(values: dict[str, float], named: Sequence[dict[str, Any]], better: Better) -> float | None:
    of_contenders = [values[each["name"]] for each in named if each["role"] != "limit" and each["name"] in values]
    if not of_contenders:
        return None
    return max(of_contenders) if better == "higher" else min(of_contenders)


def _cell(value: float | None, best: float | None, role: Role) -> str:
    if value is None:
        return "-"
    return f"**{number(value)}**" if value == best and role != "limit" else number(value)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def text(found: dict[str, Any]) -> str:
    """The tables alone, for a terminal."""
    tables = [
        f"{each['title']} ({each['better']} is better)\n{table(each, found['contenders'], found['leads'])}"
        for each in found["works"]
    ]
    failed = [f"{name}, {each['title']}: {why}" for each in found["works"] for name, why in each["failed"].items()]
    missing = [f"{name} is missing: {why}" for name, why in found["missing"].items()]
    return "\n".join([*tables, *failed, *missing, f"{found['seconds']} s"])


def section(found: dict[str, Any], directory: str) -> str:
    """Markdown of a whole run: who took part, who is missing and why, and each work; charts lie in `directory`."""
    contenders, leads = found["contenders"], found["leads"]
    who = "".join(f"| {each['name']} | {each['what']} |\n" for each in contenders)
    versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items())
    missing = "".join(f"* {name} is missing: {reason}\n" for name, reason in found["missing"].items())
    works = "".join(_work_section(each, contenders, leads, directory) for each in found["works"])
    mode = "" if found["mode"] == "full" else f" ({found['mode']} run)"
    return (
        f"Measured on {found['date']}{mode}, {found['rounds']} rounds; contenders take turns within each round. "
        f"Medians; the best of the contenders is bold. A ratio above 1 says that Portico is ahead by that factor, "
        f"whether more or less is better. Versions: {versions}.\n\n| contender | what runs |\n|---|---|\n{who}"
        + (f"\n{missing}" if missing else "")
        + works
    )


def _work_section(
    work: dict[str, Any], contenders: Sequence[dict[str, Any]], leads: Sequence[dict[str, Any]], directory: str
) -> str:
    failed = "".join(f"\n{name} failed: {reason}\n" for name, reason in work["failed"].items())
    chart = f"\n![{work['title']}]({directory}/{work['plot']})\n" if work["plot"] else ""
    return f"\n### {work['title']}\n\n{work['how']}\n\n{table(work, contenders, leads)}{failed}{chart}"


def plot(work: dict[str, Any], contenders: Sequence[dict[str, Any]], path: Path) -> None:
    """A bar chart as PNG: a group of bars for each row, ours in full colour, whiskers from lowest to highest."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = list(medians(work))
    named = [each for each in contenders if any(value["contender"] == each["name"] for value in work["rows"])]
    width = 0.84 / len(named)
    figure, axes = pyplot.subplots(
        figsize=(min(13.0, max(7.0, 0.25 * len(named) * len(rows) + 2)), 4.2), layout="constrained"
    )
    for place, (each, colour) in enumerate(zip(named, _colours(named), strict=True)):
        cells = {cell["row"]: cell for cell in work["rows"] if cell["contender"] == each["name"]}
        drawn = [(rows.index(row) + (place - (len(named) - 1) / 2) * width, cell) for row, cell in cells.items()]
        middles = [cell["median"] for _, cell in drawn]
        whiskers = [
            [cell["median"] - cell["lowest"] for _, cell in drawn],
            [cell["highest"] - cell["median"] for _, cell in drawn],
        ]
        bars = axes.bar([x for x, _ in drawn], middles, width, label=each["name"], color=colour, yerr=whiskers)
        axes.bar_label(bars, [number(value) for value in middles], fontsize=6, rotation=90, padding=3)
    axes.set_xticks(range(len(rows)), [textwrap.fill(row, 18) for row in rows])
    axes.set_ylabel(f"{work['unit']} ({work['better']} is better)")
    axes.set_title(work["title"])
    if _spread(work) > 30:
        axes.set_yscale("log")
    axes.margins(x=0.01, y=0.18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def _spread(work: dict[str, Any]) -> float:
    values = [each["median"] for each in work["rows"] if each["median"] > 0]
    return max(values) / min(values) if values else 1


def _colours(named: Sequence[dict[str, Any]]) -> list[str]:
    shades = {
        "ours": iter(("#0b57d0", "#4a90e8", "#93bdf2", "#c4dafa")),
        "peer": iter(("#d9730d", "#3f8f5b", "#8a63b8", "#b8952e", "#c0566b", "#5f9ea0", "#8c6d5a", "#7a7a3a")),
        "limit": iter(("#9aa0a6", "#c3c7cb", "#dfe1e3")),
    }
    return [next(shades[each["role"]]) for each in named]
