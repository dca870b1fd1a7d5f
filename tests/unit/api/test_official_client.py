"""Each method of ngrok's official API client fits a route, field by field, or stands in docs/api.md with a reason."""

import json
import re
from pathlib import Path

import pytest

from kit.api import Api
from kit.ngrok_api import Method, official_methods
from portico.api.openapi import document

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
DOCUMENT = document()


def not_offered() -> set[str]:
    """What the table in the docs names: services, methods, and parameters of methods."""
    (table,) = re.findall(r"^\| not offered \|.*?\n\n", DOCS.read_text("utf-8") + "\n\n", re.MULTILINE | re.DOTALL)
    rows = [line.split("|") for line in table.splitlines()[2:] if line]
    assert all(reason.strip() for _, _, reason, _ in rows)
    return {name for _, names, _, _ in rows for name in re.findall(r"`([^`]+)`", names)}


def operation(method: Method) -> dict[str, object] | None:
    path = re.sub(r"/x(?=/|$)", "/{id}", method.path)
    found: dict[str, object] | None = DOCUMENT["paths"].get(path, {}).get(method.verb.lower())
    return found


def known_fields(method: Method, found: dict[str, object]) -> set[str]:
    if method.verb in ("GET", "DELETE"):
        return {one["name"] for one in found["parameters"]} | {"id", "url"}  # type: ignore[attr-defined,index]
    content = found.get("requestBody", {}).get("content")  # type: ignore[attr-defined]
    if content is None:
        return {"id"}  # commands take any body
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return set(DOCUMENT["components"]["schemas"][name]["properties"])


@pytest.fixture(scope="module")
def methods() -> list[Method]:
    return official_methods()


def test_every_method_works_or_is_named_with_the_reason(methods: list[Method]) -> None:
    missing, named, used = [], not_offered(), set()
    for method in methods:
        names = {method.service, method.service.partition(".")[0], f"{method.service}.{method.method}"}
        found = operation(method)
        if found is None:
            used |= names & named
            missing += [] if names & named else [f"{method.service}.{method.method}"]
            continue
        unknown = {f"{method.service}({field})" for field in set(method.fields) - known_fields(method, found)}
        used |= unknown & named
        missing += sorted(unknown - named)
    assert missing == []
    assert named - used == set()  # nothing is called missing that is there
    assert len(methods) > 200


async def test_what_the_client_leaves_empty_is_as_if_it_were_left_out(api: Api) -> None:
    body = {"domain": "x.test", "region": "", "description": "", "metadata": "", "resolves_to": []}
    assert (await api.send("POST", "/reserved_domains", body)).status_code == 201
    assert json.loads(DOCS.parent.joinpath("reference", "openapi.json").read_text("utf-8")) == DOCUMENT
