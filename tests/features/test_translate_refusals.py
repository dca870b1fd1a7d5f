"""Requests of a shape that two servers may read in two ways, or that are too much, are refused or read in one way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge() as running:
        address = await running.serve(http_upstream("reached"), "reached")
        await running.publish(endpoint("https://a.edge.test", address), endpoint("http://a.edge.test", address))
        yield running


GET = "GET / HTTP/1.1\r\nHost: a.edge.test\r\n"
POST = "POST / HTTP/1.1\r\nHost: a.edge.test\r\n"
REFUSED = {
    "length beside chunked": POST + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "chunked beside length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "two lengths": POST + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nAB",
    "two equal lengths": POST + "Content-Length: 1, 2\r\n\r\nA",
    "length with a sign": POST + "Content-Length: +1\r\n\r\nA",
    "negative length": POST + "Content-Length: -1\r\n\r\nA",
    "unknown coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before colon": GET + "X-A : b\r\n\r\n",
    "space before transfer-encoding's colon": POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + "Host: b.edge.test\r\n\r\n",
    "NUL in a value": GET + "X-A: b\0c\r\n\r\n",
    "space in the name": GET + "X A: b\r\n\r\n",
    "nameless field": GET + ": b\r\n\r\n",
    "no version": "GET /\r\n\r\n",
    "not HTTP": "\x16\x03\x01 nothing\r\n\r\n",
    "too many fields": GET + "" + "x: y\r\n" * 1500 + "\r\n",
    "too long a head": GET + "x: " + "y" * 300_000 + "\r\n\r\n",
    "CONNECT": "CONNECT a.edge.test:443 HTTP/1.1\r\nHost: a.edge.test:443\r\n\r\n",
}


async def test_ambiguous_requests_are_refused(edge: TranslatedEdge) -> None:
    tries = [(shape, server_name) for shape in REFUSED for server_name in ("a.edge.test", None)]
    answers = await asyncio.gather(*(edge.raw(name, REFUSED[shape].encode("latin-1")) for shape, name in tries))
    accepted = {
        shape: answer[:80]
        for (shape, _), answer in zip(tries, answers, strict=True)
        if b"reached" in answer or not (answer == b"" or 400 <= int(answer.split()[1]) < 600)
    }
    assert accepted == {}


async def test_bad_chunk_ends_the_connection(edge: TranslatedEdge) -> None:
    """The upstream may have begun to answer the head by then; what follows is never read as a request."""
    bodies = ["zz\r\nA\r\n0\r\n\r\n", "-1\r\nA\r\n0\r\n\r\n", "0x1\r\nA\r\n0\r\n\r\n"]
    follows = "GET /second HTTP/1.1\r\nHost: a.edge.test\r\n\r\n"
    head = POST + "Transfer-Encoding: chunked\r\n\r\n"
    answers = await asyncio.gather(*(edge.raw("a.edge.test", (head + body + follows).encode()) for body in bodies))
    assert [b"/second" in answer for answer in answers] == [False] * len(bodies)


async def test_bare_cr_makes_no_second_field(edge: TranslatedEdge) -> None:
    answer = await edge.raw("a.edge.test", (GET + "X-A: b\rX-B: c\r\n\r\n").encode())
    assert b"\nx-b:" not in answer.lower()


async def test_absolute_form_goes_to_the_host_it_names(edge: TranslatedEdge) -> None:
    request = b"GET http://a.edge.test/x HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"
    answer = await edge.raw(None, request)
    assert b"reached\nGET /x HTTP/1.1\r\nhost: a.edge.test\r\n" in answer
    assert b"elsewhere" not in answer


async def test_paths_keep_what_is_theirs(edge: TranslatedEdge) -> None:
    for path, seen in {
        "/a//b/%2F?x=%2e%2e/..": "/a//b/%2F?x=%2e%2e/..",
        "/a/../b": "/b",
        "/../../b": "/b",
        "/%7Euser/%C3%A9": "/~user/%C3%A9",
    }.items():
        assert f"GET {seen} HTTP/1.1" in (await edge.get("a.edge.test", path)).text


async def test_http_1_0_is_served(edge: TranslatedEdge) -> None:
    answer = await edge.raw("a.edge.test", b"GET / HTTP/1.0\r\nHost: a.edge.test\r\n\r\n")
    assert b" 200 OK\r\n" in answer
