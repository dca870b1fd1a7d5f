import httpx
import pytest

from kit.api import Api


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["status_code"], body["error_code"]) == (status, status, code)
    assert body["details"]["operation_id"].startswith("op_")
    assert answer.headers["portico-error-code"].startswith("PORTICO_")


async def test_health_needs_no_credentials(api: Api) -> None:
    answer = await api.raw("GET", "/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/api_keys", "/credentials/x", "/openapi.json", "/", "/nothing", "/healthz/"])
@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "ERR_NGROK_200"),
        ("Basic eDp5", "ERR_NGROK_201"),
        ("Bearer", "ERR_NGROK_201"),
        ("Bearer a b", "ERR_NGROK_201"),
        ("Bearer pak_unknown", "ERR_NGROK_203"),
    ],
)
async def test_nothing_else_answers_without_a_key(api: Api, path: str, authorization: str | None, code: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await api.raw("GET", path, headers={**headers, "ngrok-version": "2"})
    assert_problem(answer, 401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_authtoken_is_no_api_key_and_says_so(api: Api) -> None:
    answer = await api.send("GET", "/api_keys", key=api.authtoken)
    assert_problem(answer, 401, "ERR_NGROK_206")
    assert api.authtoken not in answer.text


async def test_the_version_is_asked_for(api: Api) -> None:
    authorization = {"Authorization": f"Bearer {api.key}"}
    assert_problem(await api.raw("GET", "/api_keys", headers=authorization), 400, "ERR_NGROK_218")
    answer = await api.raw("GET", "/api_keys", headers={**authorization, "ngrok-version": "1"})
    assert_problem(answer, 400, "ERR_NGROK_217")


async def test_bodies_are_json_objects_of_bearable_size(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.key}", "ngrok-version": "2"}
    post = {"method": "POST", "path": "/api_keys"}
    assert_problem(await api.raw(**post, headers=headers, content=b"x" * (1 << 20 | 1)), 413, "PORTICO_20103")
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    assert_problem(await api.raw(**post, headers=form, content=b"description=x"), 415, "ERR_NGROK_210")
    json = {**headers, "Content-Type": "application/json; charset=utf-8"}
    for content in (b"{", b"[]", b'"x"', b"nul", b"\xff\xfe"):
        answer = await api.raw(**post, headers=json, content=content)
        assert_problem(answer, 400, "ERR_NGROK_213")


async def test_unknown_paths_and_methods(api: Api) -> None:
    assert_problem(await api.send("GET", "/nothing"), 404, "PORTICO_20100")
    answer = await api.send("PUT", "/api_keys")
    assert_problem(answer, 405, "PORTICO_20101")
    assert answer.headers["allow"] == "GET, POST"
    assert (await api.send("PUT", "/api_keys/x")).headers["allow"] == "DELETE, GET, PATCH"


async def test_a_revoked_key_is_refused_at_once(api: Api) -> None:
    made = await api.make("/api_keys")
    assert (await api.send("GET", "/api_keys", key=made["token"])).status_code == 200
    assert (await api.send("DELETE", f"/api_keys/{made['id']}")).status_code == 204
    assert_problem(await api.send("GET", "/api_keys", key=made["token"]), 401, "ERR_NGROK_203")
