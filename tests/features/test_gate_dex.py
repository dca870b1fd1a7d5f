"""People sign in with a real OpenID provider (Dex) at a real edge, and everything that must not let them in."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

import portico
from kit.browser import Browser
from kit.dex import CLIENT_ID, CLIENT_SECRET, EMAIL, NAME, Dex, require_dex, running_dex
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.sdk_fixtures import sdk_at
from kit.service import answering_service

HOST, OTHER = "app.localhost", "other.localhost"


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """Shows the request that came through."""
    with answering_service(lambda request: f"{request.path}\n{request.headers}".encode()) as port:
        yield port


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    require_dex()
    with running_edge(tmp_path_factory.mktemp("edge"), "--policy-networks", "127.0.0.0/8") as running:
        yield running


@pytest.fixture(scope="module")
def dex(edge: RunningEdge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dex]:
    hosts = [f"https://{host}:{edge.https_port}" for host in (HOST, OTHER)]
    with running_dex(tmp_path_factory.mktemp("dex"), [f"{host}/.portico/oauth/callback" for host in hosts]) as running:
        yield running


def policy(dex: Dex, **more: object) -> dict[str, object]:
    config = {
        "issuer_url": dex.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scopes": ["offline_access"],
        **more,
    }
    return {"on_http_request": [{"actions": [{"type": "openid-connect", "config": config}]}]}


@pytest.fixture(scope="module")
def endpoints(edge: RunningEdge, dex: Dex, service: int) -> Iterator[None]:
    with sdk_at(edge):
        portico.forward(service, url=f"https://{HOST}", traffic_policy=policy(dex))
        portico.forward(service, url=f"https://{OTHER}", traffic_policy=policy(dex))
        yield


def signed_in(edge: RunningEdge, dex: Dex) -> Browser:
    """Somebody who has signed in, once the edge asks for the provider's new keys: every ten seconds at most."""

    def attempt() -> Browser:
        browser = Browser(edge, HOST)
        assert browser.sign_in(dex).status_code == 200
        return browser

    return eventually(attempt)


@pytest.fixture
def browser(edge: RunningEdge, endpoints: None) -> Browser:
    return Browser(edge, HOST)


def test_signs_in_with_a_password(browser: Browser, dex: Dex) -> None:
    answer = browser.sign_in(dex, "/orders?page=2")
    assert answer.status_code == 200
    assert answer.text.startswith("/orders?page=2\n")
    assert f"ngrok-auth-user-email: {EMAIL}" in answer.text.lower()
    assert f"ngrok-auth-user-name: {NAME}" in answer.text.lower()
    assert browser.get("/again").status_code == 200


def test_a_wrong_password_comes_to_nothing(browser: Browser, dex: Dex) -> None:
    assert dex.sign_in(browser.to_provider(), "wrong") == ""
    assert browser.get().status_code == 302


def test_a_native_client_is_told(browser: Browser) -> None:
    answer = browser.get("/api", accept="application/json")
    assert answer.status_code == 401
    assert answer.json()["portico_error_code"] == "PORTICO_20035"


def test_a_touched_state_is_refused(browser: Browser, dex: Dex) -> None:
    back = urlsplit(dex.sign_in(browser.to_provider()))
    given = {name: values[0] for name, values in parse_qs(back.query).items()}
    answer = browser.get(f"{back.path}?{urlencode({**given, 'state': given['state'] + 'x'})}")
    assert answer.status_code == 403
    assert answer.headers["portico-error-code"] == "PORTICO_20036"
    assert browser.get().status_code == 302


def test_a_code_of_another_browser_is_refused(browser: Browser, dex: Dex, edge: RunningEdge) -> None:
    """PKCE: a stolen code is worth nothing without the verifier, which is in the cookie of the browser that began."""
    stolen = parse_qs(urlsplit(dex.sign_in(browser.to_provider())).query)["code"][0]
    thief = Browser(edge, HOST)
    back = urlsplit(dex.sign_in(thief.to_provider()))
    state = parse_qs(back.query)["state"][0]
    answer = thief.get(f"{back.path}?{urlencode({'code': stolen, 'state': state})}")
    assert answer.status_code == 403
    assert thief.get().status_code == 302


def test_a_callback_in_another_browser_is_refused(browser: Browser, dex: Dex, edge: RunningEdge) -> None:
    back = urlsplit(dex.sign_in(browser.to_provider()))
    assert Browser(edge, HOST).get(f"{back.path}?{back.query}").status_code == 403


def test_another_nonce_is_refused(browser: Browser, dex: Dex) -> None:
    location = urlsplit(browser.to_provider())
    asked = {name: values[0] for name, values in parse_qs(location.query).items()}
    other = location._replace(query=urlencode({**asked, "nonce": "another"})).geturl()
    back = urlsplit(dex.sign_in(other))
    assert browser.get(f"{back.path}?{back.query}").status_code == 403


def test_forged_cookies_are_none(browser: Browser, dex: Dex) -> None:
    browser.sign_in(dex)
    good = dict(browser.cookies)
    for name, value in good.items():
        for forged in (value[:-2] + ("AA" if value[-2:] != "AA" else "BB"), "x", "A" * len(value)):
            browser.cookies = {**good, name: forged}
            assert browser.get().status_code == 302
    browser.cookies = good
    assert browser.get().status_code == 200


def test_a_cookie_of_another_endpoint_is_none(browser: Browser, dex: Dex, edge: RunningEdge) -> None:
    browser.sign_in(dex)
    other = Browser(edge, OTHER)
    other.cookies = dict(browser.cookies)
    assert other.get().status_code == 302


def test_visitors_cannot_say_who_they_are(browser: Browser, dex: Dex) -> None:
    browser.sign_in(dex)
    answer = browser.get("/", **{"ngrok-auth-user-email": "ceo@example.com", "Ngrok-Auth-User-Id": "1"})
    assert "ceo@example.com" not in answer.text
    assert answer.text.lower().count("ngrok-auth-user-id") == 1


def test_logout(browser: Browser, dex: Dex) -> None:
    browser.sign_in(dex)
    assert browser.get("/ngrok/logout").status_code == 200
    assert browser.cookies == {}
    assert browser.get().status_code == 302


def test_a_session_survives_a_gate_that_is_killed(browser: Browser, dex: Dex, edge: RunningEdge) -> None:
    browser.sign_in(dex)
    before = edge.child("gate")
    os.kill(before, signal.SIGKILL)
    assert browser.get("/known").status_code == 200
    assert eventually(lambda: edge.child("gate") != before)
    assert Browser(edge, HOST).sign_in(dex).status_code == 200


def test_the_provider_may_change_its_keys(dex: Dex, edge: RunningEdge, endpoints: None) -> None:
    dex.stop()
    dex.start()
    signed_in(edge, dex)


def test_a_provider_that_is_away_lets_nobody_in(dex: Dex, edge: RunningEdge, endpoints: None) -> None:
    browser = Browser(edge, HOST)
    location = browser.to_provider()
    back = urlsplit(dex.sign_in(location))
    dex.stop()
    try:
        answer = browser.get(f"{back.path}?{back.query}")
        assert answer.status_code == 502
        assert answer.headers["portico-error-code"] == "PORTICO_20038"
        assert browser.get().status_code == 302
    finally:
        dex.start()
        signed_in(edge, dex)


def test_sessions_are_refreshed_and_end(dex: Dex, edge: RunningEdge, endpoints: None, service: int) -> None:
    config = policy(dex, userinfo_refresh_interval="1s", max_session_duration="1h")
    portico.kill()
    portico.forward(service, url=f"https://{HOST}", traffic_policy=config)
    browser = Browser(edge, HOST)
    browser.sign_in(dex)
    before = dict(browser.cookies)

    def renewed() -> bool:
        assert browser.get().status_code == 200
        return browser.cookies != before

    assert eventually(renewed)
    ended = policy(dex, max_session_duration="1ms")
    portico.kill()
    portico.forward(service, url=f"https://{HOST}", traffic_policy=ended)
    assert eventually(lambda: browser.get().status_code == 302)


def test_no_secret_is_in_the_log(edge: RunningEdge, dex: Dex, endpoints: None) -> None:
    log = Path(edge.log).read_text()
    assert CLIENT_SECRET not in log
    assert "portico-session" not in log
    assert "somebody signed in" in log
