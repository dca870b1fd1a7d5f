"""Rows of the acceptance table through ngrok's JavaScript SDK."""

import pytest

from kit import sdk_builds
from kit.curl import curl
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_fixtures import Application, assert_demands_certificate, assert_ends_under, assert_served, snippet

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def program() -> tuple[str, str]:
    return "node", str(sdk_builds.javascript() / "snippets.cjs")


@row("1.5", by_hand="UPSTREAM=localhost:4433 node tests/sdks/javascript/snippets.cjs upstream")
def test_row_1_5_at_the_upstream(rows_edge: RunningEdge, app: Application, program: tuple[str, str]) -> None:
    with snippet(rows_edge, app, app.tls, *program, "upstream") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row("1.12", by_hand="node tests/sdks/javascript/snippets.cjs edge")
def test_row_1_12_at_the_edge(rows_edge: RunningEdge, app: Application, program: tuple[str, str]) -> None:
    with snippet(rows_edge, app, app.plain, *program, "edge") as url:
        assert_served(curl(url, rows_edge.ca))


@row("1.21", by_hand="node tests/sdks/javascript/snippets.cjs own-certificate")
def test_row_1_21_own_certificate(rows_edge: RunningEdge, app: Application, program: tuple[str, str]) -> None:
    # This snippet names no domain: a certificate for all names below the edge's covers the one it gets.
    with snippet(rows_edge, app, app.plain, *program, "own-certificate", **app.for_random_names) as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row(
    "2.4",
    by_hand="node tests/sdks/javascript/snippets.cjs mutual-tls",
)
def test_row_2_4_mutual_tls(rows_edge: RunningEdge, app: Application, program: tuple[str, str]) -> None:
    with snippet(rows_edge, app, app.recorder.port, *program, "mutual-tls") as url:
        assert_demands_certificate(url, app.ca, app)
