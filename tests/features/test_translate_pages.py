"""Error pages: right status, right codes, the form that was asked for, and no upstream can forge them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kit.ports import free_port
from kit.translated import MARK, TranslatedEdge, endpoint, http_upstream, translated_edge
from portico.model import errors, pages
from portico.model.endpoint import Address, HostPort, UnixSocket
from portico.model.errors import ErrorCode

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = {
    "portico-error-code": "PORTICO_666",
    "Portico-Error-Code": "PORTICO_667",
    "ngrok-error-code": "ERR_NGROK_666",
}


def marked(code: ErrorCode) -> dict[str, str]:
    return dict(pages.mark_fields(code, MARK))


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and ends without an answer."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and answers what is not HTTP."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n")
    writer.close()


async def stall(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing until the other side ends."""
    await reader.read(-1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge() -> AsyncIterator[TranslatedEdge]:
    async with translated_edge(idle_seconds=5) as running:
        serve = {
            "forger": http_upstream("forger", FORGED),
            "refused": http_upstream("refused", FORGED | marked(errors.UPSTREAM_UNREACHABLE), "502 Bad Gateway"),
            "busy": http_upstream("busy", marked(errors.STREAM_LIMIT), "503 Service Unavailable"),
            "hangup": hang_up,
            "babble": babble,
            "stall": stall,
        }
        endpoints = [
            endpoint(f"https://{name}.edge.test", await running.serve(handler, name)) for name, handler in serve.items()
        ]
        direct = http_upstream("direct", FORGED | marked(errors.STREAM_LIMIT))
        running.sockets.append(await asyncio.start_server(direct, "127.0.0.1", 0))
        addresses: dict[str, Address] = {
            "dead": UnixSocket(str(running.directory / "nobody.sock")),
            "direct": HostPort("127.0.0.1", running.sockets[-1].sockets[0].getsockname()[1]),
            "direct-dead": HostPort("127.0.0.1", free_port()),
        }
        endpoints += [endpoint(f"https://{name}.edge.test", address) for name, address in addresses.items()]
        await running.publish(*endpoints, endpoint("https://off.edge.test"))
        yield running


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("off", errors.ENDPOINT_OFFLINE),
        ("dead", errors.TUNNEL_UNAVAILABLE),
        ("direct-dead", errors.TUNNEL_UNAVAILABLE),
        ("hangup", errors.BAD_GATEWAY_RESPONSE),
        ("babble", errors.BAD_GATEWAY_RESPONSE),
        ("stall", errors.UPSTREAM_TIMEOUT),
    ],
)
async def test_edge_answers_in_three_forms(edge: TranslatedEdge, name: str, code: ErrorCode) -> None:
    forms = {
        "text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8",
        "application/json": "application/json",
        "application/problem+json": "application/json",
        "*/*": "text/plain; charset=utf-8",
    }
    answers = await asyncio.gather(*(edge.get(f"{name}.edge.test", headers={"accept": form}) for form in forms))
    for (accept, content_type), answer in zip(forms.items(), answers, strict=True):
        assert answer.status == code.status
        assert answer.headers["content-type"] == content_type
        assert answer.headers["portico-error-code"] == str(code)
        assert answer.headers.get("ngrok-error-code") == code.ngrok
        assert answer.headers["cache-control"] == "no-store"
        assert (content_type, answer.body) == pages.render(code, "", accept)


async def test_json_is_json(edge: TranslatedEdge) -> None:
    answer = await edge.get("off.edge.test", headers={"accept": "application/json"})
    assert json.loads(answer.body)["error_code"] == "ERR_NGROK_3200"


@pytest.mark.parametrize("name", ["forger", "direct"])
async def test_upstream_cannot_forge_an_error(edge: TranslatedEdge, name: str) -> None:
    """Not even with the mark, where no relay answers."""
    answer = await edge.get(f"{name}.edge.test")
    assert answer.status == 200
    assert "portico-error-code" not in answer.headers
    assert "ngrok-error-code" not in answer.headers


@pytest.mark.parametrize(("name", "code"), [("refused", errors.UPSTREAM_UNREACHABLE), ("busy", errors.STREAM_LIMIT)])
async def test_relay_names_its_error(edge: TranslatedEdge, name: str, code: ErrorCode) -> None:
    answer = await edge.get(f"{name}.edge.test")
    assert answer.status == code.status
    assert answer.headers["portico-error-code"] == str(code)
    assert answer.headers.get("ngrok-error-code") == code.ngrok
    assert answer.text.startswith(name)
    assert not [header for header in answer.headers if header.startswith(MARK)]


async def test_visitor_who_sends_the_mark_gets_nothing_for_it(edge: TranslatedEdge) -> None:
    answer = await edge.get("forger.edge.test", headers={MARK: "8012"})
    assert "portico-error-code" not in answer.headers


async def test_nothing_of_the_request_is_in_a_page(edge: TranslatedEdge) -> None:
    answer = await edge.get(
        "off.edge.test",
        "/<script>alert(1)</script>",
        host="x.example",
        headers={"accept": "text/html", "x": "<script>"},
    )
    assert answer.headers["portico-error-code"] == "PORTICO_20020"
    assert "script" not in answer.text
