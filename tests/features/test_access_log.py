"""A line for each request and connection, in the real Envoy: what is in it, and what never is."""

import asyncio
import contextlib
import copy
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from kit.envoy import eventually
from kit.policies import policy_text, rule
from kit.ports import free_port
from kit.translated import TranslatedEdge, endpoint, http_upstream, translated_edge
from kit.whole_lines import whole_lines
from portico.model.edge import SocketAddress
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.observability import AccessLog, LogForm
from portico.translate.access_log import POLICY
from portico.translate.listeners import http_listener
from portico.translate.resource import Resource

SECRETS = {
    "authorization": "Bearer secret-of-a-header",
    "cookie": "session=secret-of-a-cookie",
    "referer": "https://x.test/?token=secret-of-a-referer",
}


async def lines(path: Path, count: int) -> list[str]:
    found: list[str] = await eventually(lambda: known if len(known := whole_lines(path)) >= count else None)
    return found


async def written(path: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in await lines(path, count)]


def with_policy(edge: TranslatedEdge, outcome: dict[str, Any]) -> Resource:
    """The http listener, where a policy's outcome is told of every request."""
    plain = http_listener(edge.frame, SocketAddress("127.0.0.1", edge.http))
    body = copy.deepcopy(plain.body)
    filters = body["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    config = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
        "metadata": [{"metadata_namespace": POLICY, "value": outcome}],
    }
    filters.insert(0, {"name": "outcome", "typed_config": config})
    return Resource(plain.type_url, plain.name, body)


async def test_a_line_of_json_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with translated_edge(access_log=AccessLog(LogForm.JSON, str(path))) as edge:
        await edge.publish(
            endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")),
            endpoint("https://gone.edge.test"),
        )
        answer = await edge.get("a.edge.test", "/x?token=secret-of-a-query", headers=SECRETS)
        assert "x-request-id: " in answer.text
        await edge.get("gone.edge.test", "/y")
        served, offline = await written(path, 2)
    assert (served["method"], served["host"], served["path"]) == ("GET", "a.edge.test", "/x")
    assert (served["status"], served["endpoint"], served["upstream"]) == (200, "https://a.edge.test", "tunnel")
    assert served["visitor"].startswith("127.0.0.1:")
    assert (served["tls"]["version"], served["tls"]["server_name"]) == ("TLSv1.3", "a.edge.test")
    assert served["bytes"]["out"] == len(answer.body)
    assert served["ms"]["total"] >= served["ms"]["first_byte"] >= 0
    assert f"x-request-id: {served['request_id']}\r\n" in answer.text
    assert (offline["status"], offline["error"], offline["upstream"]) == (404, "PORTICO_3200", None)
    assert "secret" not in path.read_text()


async def test_what_policies_decided_is_in_the_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    outcome = {"rule": "staff", "action": "basic-auth", "identity": "ann", "log": {"team": "blue"}}
    async with translated_edge(access_log=AccessLog(LogForm.JSON, str(path))) as edge:
        await edge.publish(endpoint("http://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        await edge.ads.publish([with_policy(edge, outcome)])
        await eventually(lambda: seen(edge, path))
        line = json.loads(whole_lines(path)[-1])
    assert line["policy"] == outcome


async def test_without_an_access_log_only_what_policies_want_is_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "envoy")
    async with translated_edge() as edge:
        upstream = await edge.serve(http_upstream("a"), "a")
        await edge.publish(endpoint("http://a.edge.test", upstream), endpoint("https://b.edge.test", upstream))
        await edge.ads.publish([with_policy(edge, {"rule": "staff", "log": {"team": "blue"}})])
        await edge.get("b.edge.test")
        await eventually(lambda: logged(edge, caplog))
        records = [record for record in caplog.records if record.message == "a policy logs"]
    assert {record.host for record in records} == {"a.edge.test"}
    assert {(record.path, record.rule, record.log) for record in records} == {("/", "staff", '{"team": "blue"}')}


async def logged(edge: TranslatedEdge, caplog: pytest.LogCaptureFixture) -> bool:
    await edge.get_plain("a.edge.test", "/?token=secret")
    return "a policy logs" in caplog.text


async def seen(edge: TranslatedEdge, path: Path) -> bool:
    await edge.get_plain("a.edge.test")
    return any("staff" in line for line in whole_lines(path))


async def test_what_a_policy_of_an_endpoint_decides_is_in_the_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    policy = policy_text(
        rule(("log", {"metadata": {"team": "blue"}}), name="kept"),
        rule(("deny", {"status_code": 451}), name="nobody"),
    )
    async with translated_edge(access_log=AccessLog(LogForm.JSON, str(path))) as edge:
        upstream = await edge.serve(http_upstream("a"), "a")
        await edge.publish(endpoint("https://a.edge.test", upstream, traffic_policy=policy, owner="me"))
        assert (await edge.get("a.edge.test")).status == 451
        (line,) = await written(path, 1)
    assert line["policy"] == {"rule": "nobody", "action": "deny", "identity": None, "log": {"team": "blue"}}
    assert (line["status"], line["endpoint"], line["route"]) == (451, None, "pub/a.edge.test")


async def test_the_query_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with translated_edge(access_log=AccessLog(LogForm.JSON, str(path), query=True)) as edge:
        await edge.publish(endpoint("http://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        await edge.get_plain("a.edge.test", "/x?page=2")
        (line,) = await written(path, 1)
    assert line["path"] == "/x?page=2"


async def test_a_line_of_text_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with translated_edge(access_log=AccessLog(LogForm.TEXT, str(path))) as edge:
        await edge.publish(endpoint("https://a.edge.test", await edge.serve(http_upstream("a"), "a")))
        await edge.get("a.edge.test", "/x?token=secret", headers=SECRETS)
        (line,) = await lines(path, 1)
    assert '"GET a.edge.test /x HTTP/1.1" 200 - ' in line
    assert " https://a.edge.test tunnel TLSv1.3 " in line
    assert "secret" not in line


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"hello\r\n")  # behind the PROXY header
    writer.write(b"well\n")
    writer.close()


async def test_a_line_for_each_connection_of_tls_and_tcp(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with translated_edge(access_log=AccessLog(LogForm.JSON, str(path))) as edge:
        port = free_port()
        socket = await edge.serve(echo, "echo")
        tcp = EndpointUrl.parse(f"tcp://edge.test:{port}")
        tls = endpoint("tls://bytes.edge.test", socket, tls=endpoint("https://x.test").tls)
        await edge.publish(Endpoint(tcp, (socket,)), tls)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await said(reader, writer)
        await said(*await edge.open("bytes.edge.test"))
        found = {line["endpoint"]: line for line in await written(path, 2)}
    assert found[str(tcp)]["bytes"] == {"in": 7, "out": 5}
    assert found[f"tls://bytes.edge.test:{edge.https}"]["tls"]["version"] == "TLSv1.3"
    assert {line["upstream"] for line in found.values()} == {"tunnel"}


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\n")
    assert await reader.read() == b"well\n"
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
