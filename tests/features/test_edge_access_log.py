"""The access log of a whole edge: to standard output, and to a file that is renamed meanwhile."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import portico
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.visit import visit
from kit.web_service import web_service
from kit.whole_lines import records


def visit_each(edge: RunningEdge, service: int, paths: list[str], then: Callable[[], None] = lambda: None) -> str:
    with portico.forward(
        service, authtoken=edge.authtoken, connect_url=edge.connect_url, connect_cas=str(edge.ca)
    ) as listener:
        for path in paths:
            visit(edge, listener.url(), path)
            then()
        return str(listener.url())


def paths_in(file: Path) -> list[Any]:
    return [line["path"] for line in records(file)]


def test_a_renamed_file_is_opened_anew(tmp_path: Path) -> None:
    log, renamed = tmp_path / "access.log", tmp_path / "access.log.1"

    with (
        running_edge(tmp_path, "--access-log", "json", "--access-log-file", str(log)) as edge,
        web_service() as service,
    ):

        def rotate() -> None:
            if renamed.exists():
                return
            eventually(lambda: paths_in(log))
            log.rename(renamed)
            edge.process.send_signal(signal.SIGUSR1)
            eventually(log.exists)

        visit_each(edge, service, ["/first", "/second"], rotate)
        eventually(lambda: paths_in(log))
    assert (paths_in(renamed), paths_in(log)) == (["/first"], ["/second"])


def test_lines_go_to_standard_output_behind_the_ready_line(tmp_path: Path) -> None:
    with running_edge(tmp_path, "--access-log", "json") as edge, web_service() as service:
        url = visit_each(edge, service, ["/a"])
        assert edge.process.stdout is not None
        line = json.loads(edge.process.stdout.readline())
    assert (line["endpoint"], line["path"], line["upstream"]) == (url, "/a", "tunnel")
