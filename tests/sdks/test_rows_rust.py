"""Rows of the acceptance table through ngrok's Rust crate."""

import pytest

from kit import sdk_builds
from kit.curl import curl
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_fixtures import Application, assert_demands_certificate, assert_ends_under, assert_served, snippet

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def program() -> str:
    return str(sdk_builds.rust() / "snippets")


@row(
    "1.7",
    by_hand="UPSTREAM=localhost:4433 cargo run --manifest-path tests/sdks/rust/Cargo.toml --bin snippets upstream",
)
def test_row_1_7_at_the_upstream(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.tls, program, "upstream") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row("1.14", by_hand="cargo run --manifest-path tests/sdks/rust/Cargo.toml --bin snippets edge")
def test_row_1_14_at_the_edge(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "edge") as url:
        assert_served(curl(url, rows_edge.ca))


@row(
    "1.23",
    by_hand="cargo run --manifest-path tests/sdks/rust/Cargo.toml --bin snippets own-certificate",
)
def test_row_1_23_own_certificate(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "own-certificate") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row(
    "2.6",
    by_hand="cargo run --manifest-path tests/sdks/rust/Cargo.toml --bin snippets mutual-tls",
)
def test_row_2_6_mutual_tls(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.recorder.port, program, "mutual-tls") as url:
        assert_demands_certificate(url, app.ca, app)
