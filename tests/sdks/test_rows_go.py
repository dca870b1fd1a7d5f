"""Rows of the acceptance table through ngrok's Go SDK, version 1, which the documents' snippets are written for."""

import pytest

from kit import sdk_builds
from kit.curl import curl
from kit.edge import RunningEdge
from kit.rows import row
from kit.rows_fixtures import Application, assert_demands_certificate, assert_ends_under, assert_served, snippet

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def program() -> str:
    return str(sdk_builds.go_v1())


@row("1.4", by_hand="(cd tests/sdks/go-v1 && go run . upstream)")
def test_row_1_4_at_the_upstream(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "upstream") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row("1.11", by_hand="(cd tests/sdks/go-v1 && go run . edge)")
def test_row_1_11_at_the_edge(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "edge") as url:
        assert_served(curl(url, rows_edge.ca))


@row("1.20", by_hand="(cd tests/sdks/go-v1 && go run . own-certificate)")
def test_row_1_20_own_certificate(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "own-certificate") as url:
        assert_ends_under(url, app.ca, rows_edge.ca)


@row("2.3", by_hand="(cd tests/sdks/go-v1 && go run . mutual-tls)")
def test_row_2_3_mutual_tls(rows_edge: RunningEdge, app: Application, program: str) -> None:
    with snippet(rows_edge, app, app.plain, program, "mutual-tls") as url:
        assert_demands_certificate(url, rows_edge.ca, app)
