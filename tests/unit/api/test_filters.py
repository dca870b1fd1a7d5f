"""`filter=` of lists, with the examples of https://ngrok.com/docs/api/api-filtering/ and what is wrong."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from kit.api import Api
from portico.api import routes
from portico.api.ports import LiveEndpoint
from portico.model.endpoint import EndpointUrl
from portico.store.tables import CloudEndpointRow


async def found(api: Api, resource: str, text: str, field: str = "description") -> list[str]:
    answer = await api.send("GET", f"/{resource}?filter={quote(text)}")
    assert answer.status_code == 200, answer.text
    return [entry[field] for entry in answer.json()[resource]]


@pytest.fixture
def endpoints(api: Api) -> Api:
    owner, now = api.owner_id("default"), datetime.now(UTC)
    url = EndpointUrl.parse("https://app.example.com")
    api.node.live_endpoints.append(LiveEndpoint("ff", "s1", owner, url, now, description="live"))
    with api.store.write() as unit:
        made = [
            unit.cloud_endpoints.add(owner, EndpointUrl.parse(f"https://{name}"), "{}", description=name)
            for name in ("old.test", "new.internal")
        ]
        row = unit.session.get_one(CloudEndpointRow, made[0].id)
        row.created_at = now - timedelta(days=30)
    return api


@pytest.mark.parametrize(
    ("text", "descriptions"),
    [
        ("obj.type == 'cloud' || obj.type == 'agent'", ["live", "new.internal", "old.test"]),
        ('obj.type in ["agent"]', ["live"]),
        ("obj.type == 'ephemeral'", ["live"]),
        ("obj.type != 'agent'", ["new.internal", "old.test"]),
        ("obj.type == 'cloud' && obj.created_at < timestamp('{week_ago}')", ["old.test"]),
        ("obj.created_at >= daysAgo(7)", ["live", "new.internal"]),
        ("obj.created_at < timestamp(time.now).subtract('7d')", ["old.test"]),
        ("obj.created_at > now().add('1h')", []),
        ("obj.binding == 'internal'", ["new.internal"]),
        ("obj.tunnel_session == null", ["new.internal", "old.test"]),
        ("obj.tunnel_session.id.startsWith('ts_')", ["live"]),
        ("!obj.pooling_enabled && (obj.url.contains('app') || size(obj.host) == 8)", ["live", "old.test"]),
        ("obj.port == 443 && obj.metadata == '' && obj.metadata != null", ["live", "new.internal", "old.test"]),
    ],
)
async def test_endpoints_are_chosen(endpoints: Api, text: str, descriptions: list[str]) -> None:
    week_ago = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    assert await found(endpoints, "endpoints", text.replace("{week_ago}", week_ago)) == descriptions


async def test_other_lists_are_filtered_by_their_own_fields(api: Api) -> None:
    await api.make("/reserved_domains", {"domain": "myapi.test", "description": "a"})
    await api.make("/reserved_domains", {"domain": "other.test", "description": "b"})
    assert await found(api, "reserved_domains", "obj.domain.startsWith('myapi')") == ["a"]
    assert await found(api, "reserved_domains", "obj.certificate.id == 'cert_1'") == []
    await api.make("/credentials", {"acl": ["bind:*"], "description": "limited"})
    owner = api.owner_id("default")
    free = f"obj.owner_id == '{owner}' && (obj.acl == null || obj.acl == '')"
    assert await found(api, "credentials", free) == ["made at the first start"]
    assert await found(api, "credentials", "'bind:*' in obj.acl") == ["limited"]


def only(description: str) -> str:
    """The filter for entries with this description, as a URL has it."""
    return quote(f"obj.description == '{description}'")


async def test_pages_of_a_filter_are_complete(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BATCH", 4)
    monkeypatch.setattr(routes, "SCANNED", 8)
    made = [(await api.make("/ip_policies", {"description": "ab"[number % 2]}))["id"] for number in range(25)]
    uri, seen, sizes = f"/ip_policies?limit=3&filter={only('b')}", [], []
    while uri:
        page = (await api.send("GET", uri)).json()
        seen += [entry["id"] for entry in page["ip_policies"]]
        sizes.append(len(page["ip_policies"]))
        uri = page["next_page_uri"]
    assert seen == made[1::2][::-1]
    assert max(sizes) == 3
    nothing = (await api.send("GET", f"/ip_policies?filter={only('c')}")).json()
    assert nothing["ip_policies"] == []
    assert "filter=" in nothing["next_page_uri"]  # as far as one request looks


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("obj.descripton == 'x'", 1, "did you mean obj.description?"),
        ("true && nothing == 1", 9, "there is no field nothing"),
        ("obj.id ==", 10, "its end"),
        ("obj.created_at > 'yesterday'", 16, "no matching overload"),
        ("obj.created_at > timestamp('2025-05-10Z')", 1, "Timestamp conversion failed"),
        ("obj.created_at > now().add('soon')", 1, "duration"),
        ("obj.id", 1, "must be true or false"),
        ("obj.description.matches('a+')", 24, "filters have no matches"),
        ("size(obj.id) + 1 > 2", 14, "filters have no"),
        ("[1, 2].all(x, x > 0)", 11, "filters have no loops"),
        ("obj.id.startWith('x')", 1, "did you mean startsWith"),
        ("'a' in {'a': 1}", 8, "maps"),
        ("obj.id == '" + "x" * 2_100 + "'", 1, "at most 2048"),
        (" || ".join(["obj.id == ''"] * 120), 1, "at most 300"),
        ("\0", 1, ""),
    ],
)
async def test_what_is_wrong_is_told_with_its_place(api: Api, text: str, place: int, words: str) -> None:
    answer = await api.send("GET", f"/ip_policies?filter={quote(text)}")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "PORTICO_20113"), answer.text
    messages = answer.json()["msg"].splitlines()
    assert any(words in line and line.startswith(f"filter: character {place}: ") for line in messages), messages
    assert answer.json()["details"]["problems"].startswith("1:")
