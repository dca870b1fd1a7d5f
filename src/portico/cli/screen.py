"""The status screen as a picture of one moment: a value in, lines of text out. Nothing here touches a terminal."""

from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from portico.agent.metrics import ConnectionFigures

_WIDE: Final = 100
_PATH, _ANSWER = 30, 24
"""Least columns of a request's path and of its answer, where there is room."""
_COLUMNS: Final = ("ttl", "opn", "rt1", "rt5", "p50", "p90")


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One HTTP request as the screen lists it."""

    time: str
    method: str
    path: str
    answer: str = ""
    """Status and reason; empty while the upstream has not answered."""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the screen shows."""

    status: str
    account: str = ""
    version: str = ""
    region: str = ""
    latency: float | None = None
    """Seconds of the last heartbeat's round trip."""
    web: str = ""
    forwarding: tuple[tuple[str, str], ...] = ()
    """Public URL and upstream of each endpoint."""
    warnings: tuple[str, ...] = ()
    """What the owner should know though it works."""
    figures: ConnectionFigures = field(default_factory=ConnectionFigures)
    requests: tuple[RequestLine, ...] = ()
    """The newest first."""
    notice: str = ""
    """What went wrong last, while it still matters."""


def draw(picture: Picture, width: int, height: int) -> Text:
    """At most `height` lines of at most `width` columns; the newest requests fill what is left."""
    label = 30 if width >= _WIDE else 18
    lines = [_title(width), Text()]
    lines += [_row(name, value, label) for name, value in _facts(picture, width - label)]
    lines += [Text(), *_connections(picture.figures, label)]
    if picture.requests:
        lines += [Text(), Text("HTTP Requests"), Text("-------------"), Text()]
        lines += _requests(picture.requests[: max(0, height - len(lines))], width)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[:height])


def printable(text: str) -> str:
    """`text` without characters that a terminal would obey: paths and reasons come from strangers."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _title(width: int) -> Text:
    hint = "(Ctrl+C to quit)"
    return Text.assemble(("portico", "bold cyan"), " " * max(1, width - len("portico") - len(hint)), hint)


def _facts(picture: Picture, room: int) -> list[tuple[str, Text]]:
    facts = [("Session Status", Text(picture.status, "green" if picture.status == "online" else "yellow"))]
    if picture.notice:
        facts.append(("", Text(printable(picture.notice), "red")))
    latency = "" if picture.latency is None else f"{picture.latency * 1000:.0f}ms"
    for name, value in (
        ("Account", picture.account),
        ("Version", picture.version),
        ("Region", picture.region),
        ("Latency", latency),
        ("Web Interface", picture.web),
    ):
        if value:
            facts.append((name, Text(printable(value))))
    for url, upstream in picture.forwarding:
        public, target = Text(printable(url), "bold"), f" -> {printable(upstream)}"
        facts += (
            [("Forwarding", public + Text(target))]
            if len(public) + len(target) <= room
            else [("Forwarding", public), ("", Text(target.lstrip()))]
        )
    facts += [("Warning", Text(printable(text), "yellow")) for text in picture.warnings]
    return facts


def _row(name: str, value: Text, label: int) -> Text:
    return Text.assemble(name.ljust(label), value)


def _connections(figures: ConnectionFigures, label: int) -> list[Text]:
    values = (
        str(figures.total),
        str(figures.open),
        *(f"{value:.2f}" for value in (figures.rate1, figures.rate5, figures.p50, figures.p90)),
    )
    head = "".join(column.ljust(8) for column in _COLUMNS).rstrip()
    body = "".join(value.ljust(8) for value in values).rstrip()
    return [_row("Connections", Text(head), label), _row("", Text(body), label)]


def _requests(requests: tuple[RequestLine, ...], width: int) -> list[Text]:
    """A column of answers, as near to the paths as the longest of these lets it be."""
    heads = [f"{request.time} {printable(request.method):<7} " for request in requests]
    answers = [printable(request.answer) for request in requests]
    paths = [Text(printable(request.path)) for request in requests]
    free = width - max(map(len, heads), default=0) - max(_ANSWER, *map(len, answers), 0) - 1
    room = max(8, min(free, max(_PATH, *map(len, paths), 0)))
    for path in paths:
        path.truncate(room, overflow="ellipsis", pad=True)
    return [
        Text.assemble(head, path, " ", (answer, _colour(request.status)))
        for head, path, answer, request in zip(heads, paths, answers, requests, strict=True)
    ]


def _colour(status: int) -> str:
    return {2: "green", 3: "cyan", 4: "yellow", 5: "red"}.get(status // 100, "")
