"""The acceptance table: which test shows which row. `docs/acceptance.md` is written from it.

`@row` ties a test to its rows and tells what to type to see the same; a name such as `test_row_1_8_…` ties it, too.

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
    "One door, many services": {
        "4.2": "Only outbound connections from private networks: no open port, no public address there",
        "4.3": "Load is balanced over agents; one that dies is routed around",
        "4.4": "One public name, many services: the music service (search, playlists, player) by path and by host",
        "4.5": "Authentication and authorisation at the edge, so that the service needs none",
        "4.6": "Security and traffic policies at the edge, per endpoint, changed while visitors come",
        "4.7": "Beside a service mesh: upstreams with the mesh's TLS, headers and identity kept",
    },
}
ROWS: Final = {number: what for group in GROUPS.values() for number, what in group.items()}

FILES: Final = """\
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=owner -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=app -addext subjectAltName=DNS:app.example.com -keyout app.key -out csr
openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -out app.pem
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=visitors -keyout cas.key -out cas.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=ann -keyout client-key.pem -out csr
openssl x509 -req -in csr -CA cas.pem -CAkey cas.key -CAcreateserial -out client-cert.pem
"""
"""Makes what the commands on the page name; a test runs it."""

_INTRODUCTION: Final = f"""\
<!-- Written by `make docs` from the tests. Do not edit. -->

# Acceptance

What Portico promises, row by row: what runs, the tests that show it, and what to type to see it with your own
eyes. `make test` and `make test-long` run the tests below `tests/rows`, `tests/features` and `tests/unit`,
`make test-sdks` those below `tests/sdks`; `pytest -k row_1_8_` runs one row.

## To try a row by hand

A certificate for app.example.com, an authority of visitors' certificates, and a visitor's certificate:

```sh
{FILES}```

An edge, a service without TLS, and one that ends TLS itself:

```sh
portico edge --domain example.net --data-dir edge --https-addr 127.0.0.1:8443 --http-addr 127.0.0.1:8080 &
mkdir site && echo hello > site/index.html && python -m http.server 8000 --bind 127.0.0.1 --directory site &
openssl s_server -accept 127.0.0.1:4433 -cert app.pem -key app.key -www -quiet &
```

Where agents, SDKs and curl find them; `URL` below is what the agent prints:

```sh
export PORTICO_CONNECT_URL=localhost:8443 PORTICO_CONNECT_CAS=$PWD/edge/ca.pem
export PORTICO_AUTHTOKEN=$(cat edge/authtoken) NGROK_AUTHTOKEN=$(cat edge/authtoken)
export UPSTREAM=localhost:8000 DOMAIN=app.example.com CRT=$PWD/app.pem KEY=$PWD/app.key CAS=$PWD/cas.pem
visit() {{ curl --connect-to ::127.0.0.1:8443 "$@"; }}
```

The programs of the SDKs are below `tests/sdks`; Node.js needs `npm ci` there first. To `ssh`, the authtoken is the
password. Rows 4.2 to 4.7 are the [music service](../examples/music/README.md): `python examples/music/start.py` starts
it and names a file with the words of their commands.
"""


def row(*numbers: str, by_hand: str) -> pytest.MarkDecorator:
    """This test shows these rows; `by_hand` is what a person types to see the same, one command a line."""
    assert by_hand
    unknown = set(numbers) - set(ROWS)
    assert not unknown, f"no such rows: {unknown}"
    return pytest.mark.row(*numbers)


@dataclass(frozen=True)
class Shown:
    """A test that shows rows."""

    file: str
    """Path below the repository's root."""
    name: str
    numbers: tuple[str, ...]
    by_hand: str
    """Empty where another test of the row tells it."""


def shown() -> list[Shown]:
    """All tests that show rows, by `@row` or by their name (`test_row_1_8_…`), in the order of files and lines."""
    return [
        test
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "row" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if (test := _shown(path, node)).numbers
    ]


def _shown(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Shown:
    named = re.match(r"test_row_(\d+)_(\d+)(?:_|$)", function.name)
    numbers = [".".join(named.groups())] if named else []
    by_hand = ""
    for call in function.decorator_list:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "row":
            numbers += [ast.literal_eval(argument) for argument in call.args]
            by_hand = ast.literal_eval(call.keywords[0].value)
    return Shown(path.relative_to(ROOT).as_posix(), function.name, tuple(dict.fromkeys(numbers)), by_hand)


def page() -> str:
    """The whole page."""
    tests = shown()
    return "\n".join([_INTRODUCTION, *(line for title in GROUPS for line in _table(title, tests))])


def _table(title: str, all_tests: list[Shown]) -> Iterator[str]:
    yield from (f"## {title}", "", "| Row | What runs | Shown by | By hand |", "|---|---|---|---|")
    for number, what in GROUPS[title].items():
        tests = [test for test in all_tests if number in test.numbers]
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
