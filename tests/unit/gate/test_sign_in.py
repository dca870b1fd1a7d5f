"""The way to the provider and back, and everything that may not pass on it."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from kit.gate import Browser, action, asked_gate, path_of, values
from kit.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider


@pytest.fixture
async def provider():
    async with identity_provider() as running:
        yield running


@pytest.fixture
async def browser(provider: IdentityProvider, tmp_path: Path):
    async with asked_gate(tmp_path) as gate:
        yield Browser(gate, action(provider.url))


async def test_signs_in_and_says_who_it_is(browser: Browser, provider: IdentityProvider) -> None:
    answer = await browser.sign_in("/orders?page=2")
    assert answer["passed"]
    results = answer["results"]
    assert results["identity"]["email"] == "jane@example.com"
    assert results["identity"]["name"] == "Jane Doe"
    assert results["identity"]["provider_user_id"] == "248289761001"
    assert results["identity"]["id"].startswith("idn_")
    assert results["identity_token"].count(".") == 2
    assert results["access_token"] in provider.access_tokens
    assert results["refresh_token"] in provider.refresh_tokens
    assert results["session_timed_out"] is False
    assert results["expires_at"].endswith("Z")


async def test_the_provider_is_asked_with_state_nonce_and_pkce(browser: Browser) -> None:
    browser.action |= {"scopes": ["groups", "email"], "parameters": {"hd": "example.com", "state": "mine"}}
    reply = await browser.get("/")
    asked = parse_qs(urlsplit(values(reply, "location")[0]).query)
    assert asked["scope"] == ["openid email profile groups"]
    assert asked["redirect_uri"] == ["https://app.example/.portico/oauth/callback"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["hd"] == ["example.com"]
    assert len(asked["state"][0]) > 30
    assert asked["state"] != asked["nonce"]
    assert values(reply, "cache-control") == ["no-store"]
    cookie = values(reply, "set-cookie")[0]
    assert cookie.startswith("__Host-portico-sign-in-")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))
    assert asked["nonce"][0] not in cookie


async def test_comes_back_to_where_it_was(browser: Browser) -> None:
    back = await browser.leave_for_provider("/orders?page=2&sort=a")
    reply = await browser.get(path_of(back))
    assert values(reply, "location") == ["https://app.example/orders?page=2&sort=a"]


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "//evil.example\\@app.example"])
async def test_is_led_to_no_other_host(browser: Browser, path: str) -> None:
    back = await browser.leave_for_provider(path)
    location = values(await browser.get(path_of(back)), "location")[0]
    assert urlsplit(location).netloc == "app.example"
    assert "\\" not in location


@pytest.mark.parametrize("path", ["https://evil.example/", "evil.example", "@evil.example", "\r\nset-cookie: a=b"])
async def test_redirect_path_leads_to_no_other_host(browser: Browser, path: str) -> None:
    await browser.sign_in()
    reply = await browser.get(f"/ngrok/logout?redirect_path={quote(path)}")
    assert values(reply, "location") == ["https://app.example/"]


async def test_another_state_is_refused(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    tag = parse_qs(urlsplit(back).query)["state"][0].partition(".")[0]
    code = parse_qs(urlsplit(back).query)["code"][0]
    reply = await browser.get(f"/.portico/oauth/callback?code={code}&state={tag}.forged")
    assert (reply["passed"], reply["status"]) == (False, 403)


async def test_a_callback_in_another_browser_is_refused(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    other = Browser(browser.gate, browser.action)
    reply = await other.get(path_of(back))
    assert reply["status"] == 403
    assert not other.cookies


async def test_a_callback_is_good_once(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    assert (await browser.get(path_of(back)))["status"] == 302
    browser.cookies = {}
    assert (await browser.get(path_of(back)))["status"] == 403


async def test_a_code_without_its_verifier_is_refused(browser: Browser, provider: IdentityProvider) -> None:
    """A code that was begun in one browser and is brought into the callback of another."""
    stolen = parse_qs(urlsplit(await browser.leave_for_provider()).query)["code"][0]
    thief = Browser(browser.gate, browser.action)
    own = parse_qs(urlsplit(await thief.leave_for_provider()).query)
    reply = await thief.get(f"/.portico/oauth/callback?code={stolen}&state={own['state'][0]}")
    assert reply["status"] == 403
    assert "session" not in str(thief.cookies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-application"},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"exp": "soon"},
    ],
)
async def test_an_identity_token_with_wrong_claims_is_refused(
    browser: Browser, provider: IdentityProvider, wrong: dict[str, object]
) -> None:
    provider.claims = wrong
    back = await browser.leave_for_provider()
    reply = await browser.get(path_of(back))
    assert reply["status"] == 403
    assert browser.cookies == {}


async def test_an_identity_token_of_an_unknown_key_is_refused(browser: Browser, provider: IdentityProvider) -> None:
    from joserfc.jwk import RSAKey

    provider.keys = [RSAKey.generate_key(2048, {"kid": "one"})]
    back = await browser.leave_for_provider()
    assert (await browser.get(path_of(back)))["status"] == 403


async def test_the_answer_of_another_provider_is_refused(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    assert (await browser.get(path_of(back) + "&iss=https%3A%2F%2Fevil.example"))["status"] == 403


async def test_says_what_the_provider_says(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    state = parse_qs(urlsplit(back).query)["state"][0]
    reply = await browser.get(f"/.portico/oauth/callback?error=access_denied&state={state}")
    assert reply["status"] == 403
    assert "the provider says access_denied" in reply["body"]
    assert ("portico-error-code", "PORTICO_20036") in map(tuple, reply["headers"])


async def test_shows_no_text_of_strangers(browser: Browser) -> None:
    back = await browser.leave_for_provider()
    state = parse_qs(urlsplit(back).query)["state"][0]
    reply = await browser.get(f"/.portico/oauth/callback?error=%3Cscript%3Ealert(1)&state={state}")
    assert "alert" not in reply["body"]


async def test_a_callback_of_no_sign_in_does_not_begin_one(browser: Browser) -> None:
    assert (await browser.get("/.portico/oauth/callback?error=whatever"))["status"] == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"accept": "application/json"}),
        ("GET", {"accept": "*/*"}),
        ("GET", {}),
        ("POST", {"accept": "text/html", "sec-fetch-mode": "navigate"}),
        ("GET", {"accept": "text/html", "sec-fetch-mode": "cors"}),
        ("GET", {"accept": "text/html", "x-requested-with": "XMLHttpRequest"}),
    ],
)
async def test_programs_are_told(browser: Browser, method: str, headers: dict[str, str]) -> None:
    reply = await browser.get("/api", method=method, headers=headers)
    assert reply["status"] == 401
    assert values(reply, "www-authenticate")[0].startswith('Cookie realm="app.example"')
    assert not values(reply, "location")
    assert not browser.cookies


async def test_programs_get_json_where_they_ask_for_it(browser: Browser) -> None:
    reply = await browser.get("/api", headers={"accept": "application/json"})
    assert json.loads(reply["body"])["portico_error_code"] == "PORTICO_20035"


async def test_cors_preflights_pass_only_where_they_may(browser: Browser) -> None:
    asked = {"method": "OPTIONS", "headers": {"origin": "https://x.example", "access-control-request-method": "PUT"}}
    assert (await browser.get("/api", **asked))["status"] == 401
    browser.action["preflights"] = True
    answer = await browser.get("/api", **asked)
    assert answer["passed"]
    assert answer["results"] == {}
    assert (await browser.get("/api", method="OPTIONS", headers={}))["status"] == 401


async def test_logout_ends_the_session(browser: Browser) -> None:
    await browser.sign_in()
    reply = await browser.get("/ngrok/logout")
    assert reply["status"] == 200
    assert browser.cookies == {}
    assert (await browser.get("/"))["status"] == 302


async def test_logout_leads_on(browser: Browser) -> None:
    await browser.sign_in()
    reply = await browser.get("/.portico/oauth/logout?redirect_path=/bye")
    assert values(reply, "location") == ["https://app.example/bye"]


async def test_logout_ends_the_session_at_the_provider_too(browser: Browser, provider: IdentityProvider) -> None:
    provider.ends_sessions = True
    await browser.sign_in()
    reply = await browser.get("/ngrok/logout")
    assert browser.cookies == {}
    location = values(reply, "location")[0]
    assert location.startswith(f"{provider.url}/end-session?")
    assert "post_logout_redirect_uri" not in location
    assert values(reply, "referrer-policy") == ["no-referrer"]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as visitor:
        assert (await visitor.get(location)).status_code == 200
    # Who has no session here is led nowhere, so nobody is signed out there by another site's link alone.
    assert (await browser.get("/ngrok/logout"))["status"] == 200


async def test_the_provider_leads_back_after_logout(browser: Browser, provider: IdentityProvider) -> None:
    provider.ends_sessions = True
    provider.leads_back_to = {"https://app.example/bye"}
    await browser.sign_in()
    reply = await browser.get("/ngrok/logout?redirect_path=/bye")
    async with httpx.AsyncClient(timeout=60, trust_env=False) as visitor:
        answer = await visitor.get(values(reply, "location")[0])
    assert answer.headers["location"] == "https://app.example/bye"
    assert provider.asked[-1] == "end-session"


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_the_provider_leads_back_to_no_other_host(
    browser: Browser, provider: IdentityProvider, path: str
) -> None:
    provider.ends_sessions = True
    await browser.sign_in()
    reply = await browser.get(f"/ngrok/logout?redirect_path={quote(path)}")
    asked = parse_qs(urlsplit(values(reply, "location")[0]).query)
    assert urlsplit(asked["post_logout_redirect_uri"][0]).netloc == "app.example"


async def test_login_asks_for_the_password_again(browser: Browser) -> None:
    reply = await browser.get("/ngrok/login?redirect_path=/foo")
    assert parse_qs(urlsplit(values(reply, "location")[0]).query)["prompt"] == ["login"]
    from kit.gate import provider_sends_back

    back = await provider_sends_back(values(reply, "location")[0])
    assert values(await browser.get(path_of(back)), "location") == ["https://app.example/foo"]


async def test_a_session_of_another_host_is_none(browser: Browser) -> None:
    await browser.sign_in()
    other = Browser(browser.gate, browser.action, origin="https://other.example", cookies=dict(browser.cookies))
    assert (await other.get("/"))["status"] == 302


@pytest.mark.parametrize("change", [{"client_secret": "another"}, {"auth_id": "another"}, {"client_id": "another"}])
async def test_a_session_of_another_action_is_none(browser: Browser, change: dict[str, str]) -> None:
    await browser.sign_in()
    other = Browser(browser.gate, browser.action | change, cookies=dict(browser.cookies))
    names = [name for name in browser.cookies if "session" in name]
    reply = await other.get("/")
    assert reply["status"] == 302
    # Not even under the name that this action looks for.
    tag = next(name for name in other.cookies if "sign-in" in name)
    assert names
    assert tag


@pytest.mark.parametrize("forged", ["", "A", "!!!", "é", "AAAA" * 20, "a" * 5000])
async def test_a_forged_session_is_none(browser: Browser, forged: str) -> None:
    await browser.sign_in()
    browser.cookies = dict.fromkeys(browser.cookies, forged)
    assert (await browser.get("/"))["status"] == 302


async def test_a_session_that_was_touched_is_none(browser: Browser) -> None:
    await browser.sign_in()
    name, value = next(iter(browser.cookies.items()))
    data = bytearray(base64.urlsafe_b64decode(value + "=="))
    data[len(data) // 2] ^= 1
    browser.cookies[name] = base64.urlsafe_b64encode(bytes(data)).decode().rstrip("=")
    assert (await browser.get("/"))["status"] == 302


async def test_a_state_is_no_session(browser: Browser) -> None:
    """What is sealed for one purpose opens for no other."""
    await browser.leave_for_provider()
    sealed = next(iter(browser.cookies.values()))
    await browser.sign_in()
    name = next(name for name in browser.cookies if "session" in name)
    browser.cookies[name] = sealed
    assert (await browser.get("/"))["status"] == 302


async def test_large_tokens_are_cut_into_cookies(browser: Browser, provider: IdentityProvider) -> None:
    provider.claims = {"groups": ["x" * 40] * 120}
    answer = await browser.sign_in()
    assert answer["passed"]
    parts = [name for name in browser.cookies if "session" in name]
    assert len(parts) > 1
    assert all(len(browser.cookies[name]) <= 3800 for name in parts)
    await browser.get("/ngrok/logout")
    assert browser.cookies == {}


async def test_a_cookie_domain_is_shared_by_its_hosts_alone(browser: Browser) -> None:
    browser.action["cookie_domain"] = "example"
    await browser.sign_in()
    assert all(name.startswith("__Secure-") for name in browser.cookies)
    other = Browser(browser.gate, browser.action, origin="https://other.example", cookies=dict(browser.cookies))
    assert (await other.get("/"))["passed"]
    stranger = Browser(browser.gate, browser.action, origin="https://app.elsewhere", cookies=dict(browser.cookies))
    assert (await stranger.get("/"))["status"] == 500


async def test_without_tls_cookies_are_plain(browser: Browser) -> None:
    browser.origin = "http://app.example"
    assert (await browser.sign_in())["passed"]
    assert all(name.startswith("portico-") for name in browser.cookies)


async def test_a_session_that_was_seen_without_tls_is_none_with_it(browser: Browser) -> None:
    browser.origin = "http://app.example"
    await browser.sign_in()
    cookies = {f"__Host-{name}": value for name, value in browser.cookies.items()}
    secure = Browser(browser.gate, browser.action, cookies=cookies)
    assert (await secure.get("/"))["status"] == 302


async def test_unfinished_sign_ins_do_not_pile_up(browser: Browser) -> None:
    for _ in range(20):
        await browser.get("/")
    assert len(browser.cookies) < 10


async def test_a_provider_that_is_down_lets_nobody_in(browser: Browser, provider: IdentityProvider) -> None:
    provider.down = True
    reply = await browser.get("/")
    assert reply["status"] == 502
    assert "PORTICO_20038" in reply["body"]


async def test_a_provider_that_goes_down_lets_nobody_in(browser: Browser, provider: IdentityProvider) -> None:
    back = await browser.leave_for_provider()
    provider.down = True
    reply = await browser.get(path_of(back))
    assert reply["status"] == 502
    assert "session" not in str(browser.cookies)


async def test_a_wrong_secret_is_the_owners_to_correct(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    browser.action["client_secret"] = "wrong-wrong-wrong"
    reply = await browser.get(path_of(await browser.leave_for_provider()))
    assert reply["status"] == 403
    assert "does not know this application" in reply["body"]
    assert "wrong-wrong-wrong" not in caplog.text + str(reply)


async def test_secrets_are_in_no_log(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "portico")
    results = (await browser.sign_in())["results"]
    hidden = [CLIENT_SECRET, results["access_token"], results["refresh_token"], *browser.cookies.values()]
    assert not any(
        secret in record.getMessage() + str(record.__dict__) for secret in hidden for record in caplog.records
    )


async def test_two_sign_ins_of_one_host_answer_for_themselves(browser: Browser) -> None:
    first, second = browser.action | {"auth_id": "one"}, browser.action | {"auth_id": "two"}
    browser.action = second
    back = await browser.leave_for_provider("/two")
    asked = {"visit": browser.visit(path_of(back)), "actions": [first, second]}
    reply = (await browser.gate.post("/sign-in/path", json=asked)).json()
    assert values(reply, "location") == ["https://app.example/two"]
    asked = {"visit": browser.visit("/ngrok/logout?auth_id=three"), "actions": [first, second]}
    assert (await browser.gate.post("/sign-in/path", json=asked)).json() == {"passed": True}
