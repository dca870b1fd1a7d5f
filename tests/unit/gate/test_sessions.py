"""How long a session lasts, and how its provider is asked again."""

import asyncio
from pathlib import Path

import pytest

from kit.gate import Browser, Clock, action, asked_gate
from kit.identity_provider import IdentityProvider, identity_provider


@pytest.fixture
async def provider():
    async with identity_provider() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def browser(provider: IdentityProvider, tmp_path: Path, clock: Clock):
    async with asked_gate(tmp_path, clock=clock) as gate:
        yield Browser(gate, action(provider.url))


async def test_ends_after_its_longest_duration(browser: Browser, clock: Clock) -> None:
    browser.action["longest"] = 3600
    await browser.sign_in()
    clock.ahead = 3500
    assert (await browser.get("/"))["passed"]
    clock.ahead = 3700
    assert (await browser.get("/"))["status"] == 302
    assert (await browser.get("/api", headers={}))["status"] == 401


async def test_lasts_a_fortnight_where_nothing_is_said(browser: Browser, clock: Clock) -> None:
    await browser.sign_in()
    clock.ahead = 13 * 86_400
    assert (await browser.get("/"))["passed"]
    clock.ahead = 15 * 86_400
    assert (await browser.get("/"))["status"] == 302


async def test_ends_after_silence_and_not_before(browser: Browser, clock: Clock) -> None:
    browser.action["idle"] = 600
    await browser.sign_in()
    for seconds in range(0, 3600, 500):
        clock.ahead = seconds
        assert (await browser.get("/"))["passed"]
    clock.ahead += 700
    assert (await browser.get("/"))["status"] == 302


async def test_an_old_cookie_does_not_outlive_its_silence(browser: Browser, clock: Clock) -> None:
    """A cookie that was copied early is not renewed by what its owner does later."""
    browser.action["idle"] = 600
    await browser.sign_in()
    copied = dict(browser.cookies)
    for clock.ahead in (300, 600, 800):
        assert (await browser.get("/"))["passed"]
    thief = Browser(browser.gate, browser.action, cookies=copied)
    assert (await thief.get("/"))["status"] == 302


async def test_says_how_long_it_may_be_believed(browser: Browser, clock: Clock) -> None:
    assert 0 < (await browser.sign_in())["until"] - clock() <= 30
    browser.action |= {"longest": 5}
    assert (await browser.get("/"))["until"] - clock() <= 5


async def test_asks_the_provider_again(browser: Browser, clock: Clock, provider: IdentityProvider) -> None:
    browser.action["refresh"] = 900
    first = await browser.sign_in()
    assert first["results"]["userinfo_refreshed"] is False
    provider.person |= {"name": "Jane Roe", "email": "roe@example.com"}
    clock.ahead = 1000
    answer = await browser.get("/")
    assert answer["results"]["userinfo_refreshed"] is True
    assert answer["results"]["identity"]["email"] == "roe@example.com"
    assert answer["results"]["access_token"] == first["results"]["access_token"]
    assert (await browser.get("/"))["results"]["userinfo_refreshed"] is False


async def test_uses_the_refresh_token_where_the_other_has_ended(
    browser: Browser, clock: Clock, provider: IdentityProvider
) -> None:
    browser.action["refresh"] = 900
    provider.seconds = 600
    first = await browser.sign_in()
    provider.access_tokens.clear()
    clock.ahead = 1000
    answer = await browser.get("/")
    assert answer["results"]["access_token"] != first["results"]["access_token"]
    assert answer["results"]["refresh_token"] in provider.refresh_tokens


async def test_requests_side_by_side_refresh_once(browser: Browser, clock: Clock, provider: IdentityProvider) -> None:
    browser.action["refresh"] = 900
    provider.seconds = 600
    await browser.sign_in()
    clock.ahead = 1000
    provider.asked.clear()
    twins = [Browser(browser.gate, browser.action, cookies=dict(browser.cookies)) for _ in range(8)]
    answers = await asyncio.gather(*(twin.get("/") for twin in twins))
    assert all(answer["passed"] for answer in answers)
    assert provider.asked.count("token") == 1
    late = Browser(browser.gate, browser.action, cookies=dict(browser.cookies))
    assert (await late.get("/"))["passed"]
    assert provider.asked.count("token") == 1


async def test_whom_the_provider_forgot_is_out(browser: Browser, clock: Clock, provider: IdentityProvider) -> None:
    browser.action["refresh"] = 900
    await browser.sign_in()
    provider.access_tokens.clear()
    clock.ahead = 1000
    assert (await browser.get("/"))["status"] == 302
    assert (await browser.get("/", headers={}))["status"] == 401


async def test_a_refresh_that_names_somebody_else_is_refused(
    browser: Browser, clock: Clock, provider: IdentityProvider
) -> None:
    browser.action["refresh"] = 900
    await browser.sign_in()
    provider.person["sub"] = "somebody-else"
    clock.ahead = 1000
    assert (await browser.get("/"))["status"] == 302


async def test_a_provider_that_is_down_lets_nobody_through_a_refresh(
    browser: Browser, clock: Clock, provider: IdentityProvider
) -> None:
    browser.action["refresh"] = 900
    await browser.sign_in()
    provider.down = True
    clock.ahead = 1000
    assert (await browser.get("/"))["status"] == 502
    provider.down = False
    assert (await browser.get("/"))["passed"]


async def test_a_state_ends(browser: Browser, clock: Clock) -> None:
    from kit.gate import path_of

    back = await browser.leave_for_provider()
    clock.ahead = 700
    assert (await browser.get(path_of(back)))["status"] == 403


async def test_the_providers_keys_may_change(browser: Browser, clock: Clock, provider: IdentityProvider) -> None:
    await browser.sign_in()
    provider.rotate()
    clock.ahead = 11
    browser.cookies = {}
    assert (await browser.sign_in())["passed"]


async def test_keys_are_not_fetched_for_every_unknown_one(
    browser: Browser, provider: IdentityProvider, clock: Clock
) -> None:
    from joserfc.jwk import RSAKey

    await browser.sign_in()
    clock.ahead = 11
    provider.keys = [RSAKey.generate_key(2048, {"kid": "forged"})]
    provider.asked.clear()
    for _ in range(5):
        await browser.get(await _back(browser))
    assert provider.asked.count("keys") == 1


async def _back(browser: Browser) -> str:
    from kit.gate import path_of

    browser.cookies = {}
    return path_of(await browser.leave_for_provider())


async def test_a_new_secret_of_the_edge_keeps_sessions_while_the_old_one_is_kept(
    browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "gate.secrets"
    await browser.sign_in()
    old = file.read_text()
    file.write_text("77" * 32 + "\n" + old)
    assert (await browser.get("/"))["passed"]
    file.write_text("77" * 32 + "\n")
    assert (await browser.get("/"))["status"] == 302


async def test_without_the_edges_secrets_nobody_passes(browser: Browser, tmp_path: Path) -> None:
    await browser.sign_in()
    (tmp_path / "gate.secrets").write_text("")
    assert (await browser.get("/"))["status"] == 500
