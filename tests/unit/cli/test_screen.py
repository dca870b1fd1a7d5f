"""The status screen, drawn at several sizes; what strangers send does not reach the terminal."""

import pytest

from portico.agent.metrics import ConnectionFigures
from portico.cli.screen import Picture, RequestLine, draw

PICTURE = Picture(
    status="online",
    account="default (Plan: Self-hosted)",
    version="1.0.0",
    region="localhost",
    latency=0.0123,
    web="http://127.0.0.1:4040",
    forwarding=(("https://app.example.com", "http://localhost:8080"), ("tcp://edge:20000", "tcp://localhost:22")),
    figures=ConnectionFigures(total=12, open=3, rate1=0.5, rate5=0.25, p50=0.01, p90=1.5),
    requests=(
        RequestLine("12:00:01.000 UTC", "POST", "/a", "500 Oh", 500),
        RequestLine("12:00:00.000 UTC", "GET", "/"),
    ),
)

AT_80 = """\
portico                                                         (Ctrl+C to quit)

Session Status    online
Account           default (Plan: Self-hosted)
Version           1.0.0
Region            localhost
Latency           12ms
Web Interface     http://127.0.0.1:4040
Forwarding        https://app.example.com -> http://localhost:8080
Forwarding        tcp://edge:20000 -> tcp://localhost:22

Connections       ttl     opn     rt1     rt5     p50     p90
                  12      3       0.50    0.25    0.01    1.50

HTTP Requests
-------------

12:00:01.000 UTC POST    /a                             500 Oh
12:00:00.000 UTC GET     /"""


def lines(picture: Picture, width: int, height: int) -> list[str]:
    return [line.rstrip() for line in draw(picture, width, height).plain.split("\n")]


def test_at_80_by_24() -> None:
    assert lines(PICTURE, 80, 24) == AT_80.split("\n")


def test_at_120_by_40_the_labels_have_more_room() -> None:
    drawn = lines(PICTURE, 120, 40)
    assert drawn[2] == f"{'Session Status':<30}online"
    assert drawn[0].endswith("(Ctrl+C to quit)")
    assert len(drawn[0]) == 120


@pytest.mark.parametrize("width", [1, 10, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 18, 19, 60])
def test_never_larger_than_the_terminal(width: int, height: int) -> None:
    many = RequestLine("12:00:00.000 UTC", "GET", "/" + "x" * 300, "200 OK", 200)
    drawn = lines(Picture(**{**_fields(), "requests": (many,) * 100}), width, height)
    assert len(drawn) <= height
    assert all(len(line) <= width for line in drawn)


def test_answers_stand_in_one_column_near_the_paths() -> None:
    answers = ("500 Internal Server Error", "200 OK", "no answer", "431 Request Header Fields Too Large")
    requests = tuple(RequestLine("12:00:00.000 UTC", "GET", f"/{answer[:3]}", answer, 500) for answer in answers)
    drawn = lines(Picture(**{**_fields(), "requests": requests}), 200, 50)[-len(answers) :]
    assert {line.index(answer) for line, answer in zip(drawn, answers, strict=True)} == {56}


def test_an_upstream_beside_which_the_url_has_no_room_is_below_it() -> None:
    url = "https://a-rather-long-subdomain-name-for-the-screen.edge.example.com"
    drawn = lines(Picture(**{**_fields(), "forwarding": ((url, "http://localhost:8080"),)}), 80, 24)
    at = next(number for number, line in enumerate(drawn) if line.startswith("Forwarding"))
    assert drawn[at + 1].strip() == "-> http://localhost:8080"


def test_what_is_not_known_has_no_line() -> None:
    text = "\n".join(lines(Picture(status="connecting", notice="cannot reach the edge"), 80, 24))
    assert "cannot reach the edge" in text
    for label in ("Account", "Latency", "Web Interface", "Forwarding", "HTTP Requests"):
        assert label not in text


def test_control_characters_of_strangers_are_not_obeyed() -> None:
    evil = RequestLine("12:00:00.000 UTC", "G\x1b[2JT", "/\x1b]0;title\x07\r\n\u202e", "200 \x9b31m", 200)
    drawn = draw(Picture(status="online", notice="\x1b[31m", requests=(evil,)), 120, 40).plain
    assert drawn.replace("\n", "").isprintable()


def _fields() -> dict[str, object]:
    return {name: getattr(PICTURE, name) for name in PICTURE.__dataclass_fields__}


def test_row_0_8_warnings_are_visible() -> None:
    text = "https://localhost:8443: the upstream's certificate is not verified"
    drawn = lines(Picture(**{**_fields(), "warnings": (text,)}), 120, 24)
    assert [line.split() for line in drawn if text in line] == [["Warning", *text.split()]]
