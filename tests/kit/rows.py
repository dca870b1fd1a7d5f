"""The acceptance table: `@row` ties a test to the row that it shows, and `docs/acceptance.md` is written from the ties.

`python -m tests.kit.rows [--check]` writes the page, or with `--check` tells whether it is what the tests say. Tests
are read as text, so that the page needs no SDK, no Envoy and no build.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "acceptance.md"

GROUPS: Final[dict[str, dict[str, str]]] = {
    "TLS termination: at the upstream": {
        "1.1": "Command line: TLS passes through to the upstream; what `tls` endpoints do by default",
        "1.2": "Configuration file: the same",
        "1.3": "`ssh -R` with the stock OpenSSH client",
        "1.4": "ngrok's Go SDK",
        "1.5": "ngrok's JavaScript SDK",
        "1.6": "ngrok's Python SDK, and Portico's",
        "1.7": "ngrok's Rust crate",
    },
    "TLS termination: at the edge": {
        "1.8": "Command line: TLS ends at the edge, under a certificate that the edge makes",
        "1.9": "Configuration file: the same",
        "1.10": "Over SSH it is refused: why, and what to use",
        "1.11": "ngrok's Go SDK",
        "1.12": "ngrok's JavaScript SDK; an empty certificate and key mean the edge's own",
        "1.13": "ngrok's Python SDK, and Portico's; an empty certificate and key mean the edge's own",
        "1.14": "ngrok's Rust crate; an empty certificate and key mean the edge's own",
    },
    "TLS termination: at the agent": {
        "1.15": "Command line: TLS ends at the agent, under the owner's certificate",
        "1.16": "Configuration file: the same",
        "1.17": "Over SSH it is refused, and told why; in Portico's own SDK it works",
    },
    "TLS termination: the owner's certificate at the edge": {
        "1.18": "Command line",
        "1.19": "Configuration file",
        "1.20": "ngrok's Go SDK",
        "1.21": "ngrok's JavaScript SDK",
        "1.22": "ngrok's Python SDK, and Portico's",
        "1.23": "ngrok's Rust crate",
    },
    "TLS termination: what visitors and owners can rely on": {
        "1.24": "Certificates of an ACME provider: ordered, renewed, the best valid match chosen, for random names too",
        "1.25": "Zero-knowledge TLS: routed by server name, never decrypted at the edge",
        "1.26": "TLS 1.3 is preferred, 1.2 the minimum; configurable at the edge, fixed at the agent",
        "1.27": "A certificate for another domain, a key of another certificate, a missing domain: clear errors",
    },
    "Mutual TLS at the edge": {
        "2.1": "Command line",
        "2.2": "Configuration file",
        "2.3": "ngrok's Go SDK",
        "2.4": "ngrok's JavaScript SDK",
        "2.5": "ngrok's Python SDK, and Portico's",
        "2.6": "ngrok's Rust crate; over SSH it is refused, and told why",
    },
    "Mutual TLS at the agent": {
        "2.7": "Command line",
        "2.8": "Configuration file, and Portico's own SDK",
    },
    "Mutual TLS: what visitors and owners can rely on": {
        "2.9": "Several authorities in one PEM, any of which may have signed; at most ten at the edge",
        "2.10": "An authority whose basic constraint cA is not true is refused, and named",
        "2.11": "No certificate, a stranger's, an expired one: the TLS alert that fits, and no byte to the upstream",
        "2.12": "Mutual TLS where TLS is not terminated is refused",
        "2.13": "curl with certificate and key in two files, and in one",
    },
    "TLS to the upstream": {
        "0.1": "The openssl commands that make an authority, a server's and a client's certificate",
        "0.8": "Verification, authority, server name and client certificate, by command line, file and SDK",
        "0.9": "An upstream that is not trusted, or refuses us: a 502 page, the status and the log name the reason",
    },
}
ROWS: Final = {number: what for group in GROUPS.values() for number, what in group.items()}

_INTRODUCTION: Final = """\
<!-- Written by `make docs` from the tests. Do not edit. -->

# Acceptance

What Portico promises of TLS, row by row: what runs, the tests that show it, and what to type to see it with your own
eyes. `make test` runs the tests below `tests/rows`, `tests/features` and `tests/unit`, `make test-sdks` those below
`tests/sdks`; `pytest -k row_1_8` runs one row.

To try a row by hand, start an edge and a small service, and tell the agent, the SDKs and curl of them:

```sh
portico edge --domain example.net --data-dir edge --https-addr 127.0.0.1:443 &
python -m http.server 80 --bind 127.0.0.1 &
export PORTICO_CONNECT_URL=localhost:443 PORTICO_CONNECT_CAS=edge/ca.pem PORTICO_AUTHTOKEN=$(cat edge/authtoken)
export NGROK_AUTHTOKEN=$PORTICO_AUTHTOKEN
visit() { curl --connect-to ::127.0.0.1:443 "$@"; }
```

Below, `app.pem` and `app.key` are a certificate and key for app.example.com that `ca.pem` signed; `cas.pem` holds the
authorities of visitors' certificates, and `client-cert.pem` with `client-key.pem` is such a visitor's.
"""


def row(*numbers: str, by_hand: str) -> pytest.MarkDecorator:
    """This test shows these rows; `by_hand` is what a person types to see the same, one command a line."""
    assert by_hand
    unknown = set(numbers) - set(ROWS)
    assert not unknown, f"no such rows: {unknown}"
    return pytest.mark.row(*numbers)


@dataclass(frozen=True)
class Shown:
    """A test with its ties."""

    file: str
    """Path below the repository's root."""
    name: str
    numbers: tuple[str, ...]
    by_hand: str


def tests_with_rows(root: Path = ROOT) -> list[Shown]:
    """All tests that `@row` ties to rows, in the order of files and lines."""
    return [
        Shown(path.relative_to(root).as_posix(), function.name, numbers, by_hand)
        for path in sorted((root / "tests").rglob("test_*.py"))
        for function, numbers, by_hand in _ties(path)
    ]


def named_like_rows(root: Path = ROOT) -> Iterator[tuple[str, str, str]]:
    """File, name and row number of each test whose name begins with a row."""
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, major, minor in re.findall(r"def (test_row_(\d)_(\d+)\w*)", path.read_text("utf-8")):
            yield path.relative_to(root).as_posix(), name, f"{major}.{minor}"


def _ties(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, tuple[str, ...], str]]:
    text = path.read_text("utf-8")
    if "@row(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "row":
                numbers = tuple(ast.literal_eval(argument) for argument in call.args)
                yield node, numbers, ast.literal_eval(call.keywords[0].value)


def page() -> str:
    """The whole page."""
    shown = tests_with_rows()
    return "\n".join([_INTRODUCTION, *(line for title in GROUPS for line in _table(title, shown))])


def _table(title: str, shown: list[Shown]) -> Iterator[str]:
    yield from (f"## {title}", "", "| Row | What runs | Shown by | By hand |", "|---|---|---|---|")
    for number, what in GROUPS[title].items():
        tests = [test for test in shown if number in test.numbers]
        links = "<br>".join(f"[`{test.name}`](../{test.file})" for test in tests)
        commands = dict.fromkeys(line for test in tests for line in test.by_hand.strip().splitlines())
        by_hand = "<br>".join(f"`{line.strip()}`" for line in commands).replace("|", "\\|")
        yield f"| {number} | {what} | {links} | {by_hand} |"
    yield ""


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if "--check" not in arguments:
        PAGE.write_text(page(), "utf-8")
        return 0
    stale = not PAGE.exists() or PAGE.read_text("utf-8") != page()
    if stale:
        print(f"{PAGE.relative_to(ROOT)} is not what the tests say; run `make docs`", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
