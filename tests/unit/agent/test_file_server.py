import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.agent.file_server import FileServer
from portico.model.errors import UPSTREAM_INVALID, PorticoError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("SECRET")
    root = tmp_path / "site"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "with index").mkdir()
    (root / "with index" / "index.html").write_text("<h1>index</h1>")
    (root / "a.txt").write_text("0123456789")
    (root / "sub" / "<b>&'\".txt").write_text("odd")
    (root / "outside").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "inside").symlink_to(root / "a.txt")
    return root


@pytest.fixture
async def server(root: Path) -> AsyncIterator[FileServer]:
    server = FileServer(str(root))
    yield server
    server.close()


async def ask(server: FileServer, request: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_unix_connection(sock=server.connect())
    lines = [f"{request} HTTP/1.1", "Host: visitors.example", "Connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body


async def test_files_ranges_and_conditions(server: FileServer) -> None:
    status, headers, body = await ask(server, "GET /a.txt")
    assert (status, body) == (200, b"0123456789")
    assert (await ask(server, "GET /a.txt", "Range: bytes=2-4"))[::2] == (206, b"234")
    assert (await ask(server, "GET /a.txt", "Range: bytes=90-"))[0] == 416
    assert (await ask(server, "GET /a.txt", f"If-None-Match: {headers['etag']}"))[::2] == (304, b"")
    assert (await ask(server, "HEAD /a.txt"))[::2] == (200, b"")


async def test_directories(server: FileServer) -> None:
    status, _, body = await ask(server, "GET /")
    assert status == 200
    assert b'href="./sub/"' in body
    assert (await ask(server, "GET /with%20index/"))[2] == b"<h1>index</h1>"
    for directory, location in (("/sub", "./sub/"), ("/with%20index", "./with%20index/"), ("/sub/deep", "./deep/")):
        status, headers, _ = await ask(server, f"GET {directory}")
        assert (status, headers["location"]) == (307, location)


async def test_names_are_escaped(server: FileServer) -> None:
    _, _, body = await ask(server, "GET /sub/")
    assert b"<b>" not in body
    assert b"&lt;b&gt;&amp;" in body
    assert (await ask(server, "GET /sub/%3Cb%3E%26%27%22.txt"))[2] == b"odd"


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/sub/../../secret.txt", "/outside", "/up/secret.txt",
     "/up/", "/%00", "//secret.txt", "/./../secret.txt", "/sub%5c..%5c..%5csecret.txt", "/" + "x" * 5000],
)  # fmt: skip
async def test_nothing_outside_the_root(server: FileServer, path: str) -> None:
    status, _, body = await ask(server, f"GET {path}")
    assert status in (400, 404)
    assert b"SECRET" not in body


async def test_links_inside_the_root_are_followed(server: FileServer) -> None:
    assert (await ask(server, "GET /inside"))[2] == b"0123456789"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_reading_only(server: FileServer, method: str) -> None:
    status, headers, _ = await ask(server, f"{method} /a.txt", "Content-Length: 0")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["..", ".", "%2e%2e", "..%2f", "sub", "up", "outside", "secret.txt", "site", "%00", "~"]))
)
def test_no_path_leads_outside(root: Path, parts: list[str]) -> None:
    async def visit() -> bytes:
        server = FileServer(str(root))
        try:
            return (await ask(server, "GET /" + "/".join(parts)))[2]
        finally:
            server.close()

    assert b"SECRET" not in asyncio.run(visit())


def test_only_directories_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path / "missing"):
        with pytest.raises(PorticoError) as caught:
            FileServer(str(path))
        assert caught.value.code is UPSTREAM_INVALID


async def test_a_name_that_is_not_unicode_is_listed(root: Path, server: FileServer) -> None:
    (root / os.fsdecode(b"\xff.txt")).write_text("bytes")
    status, _, body = await ask(server, "GET /")
    assert status == 200
    assert b"%FF.txt" in body
