"""Providers known by name, by the answers that they document; and what a provider may say of itself."""

from pathlib import Path
from typing import Any

import pytest

from kit.gate import Browser, asked_gate
from kit.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider
from portico.gate.providers import PROVIDERS, discovered, openid_person
from portico.policy.actions.sign_in import OAuth


@pytest.fixture
async def provider():
    async with identity_provider() as running:
        yield running


async def _identity(provider: IdentityProvider, directory: Path, name: str) -> dict[str, Any]:
    table = {one: provider.named(one) for one in PROVIDERS}
    async with asked_gate(directory, table) as gate:
        configured = {"provider": name, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        answer = await Browser(gate, configured).sign_in()
        assert answer["passed"], answer
        assert "identity_token" not in answer["results"]
        identity: dict[str, Any] = answer["results"]["identity"]
        return {key: identity[key] for key in ("provider_user_id", "email", "name")}


async def test_google(provider: IdentityProvider, tmp_path: Path) -> None:
    identity = await _identity(provider, tmp_path, "google")
    assert identity == {"provider_user_id": "248289761001", "email": "jane@example.com", "name": "Jane Doe"}


async def test_google_says_which_address_is_verified(provider: IdentityProvider, tmp_path: Path) -> None:
    provider.person["email_verified"] = False
    assert (await _identity(provider, tmp_path, "google"))["email"] == ""


async def test_github_gives_the_verified_primary_address(provider: IdentityProvider, tmp_path: Path) -> None:
    identity = await _identity(provider, tmp_path, "github")
    assert identity == {"provider_user_id": "583231", "email": "octocat@github.com", "name": "octocat"}


async def test_twitch(provider: IdentityProvider, tmp_path: Path) -> None:
    identity = await _identity(provider, tmp_path, "twitch")
    assert identity == {"provider_user_id": "141981764", "email": "dev@twitch.example", "name": "TwitchDev"}


async def test_microsoft_gives_no_address_that_a_tenant_made_up(provider: IdentityProvider, tmp_path: Path) -> None:
    identity = await _identity(provider, tmp_path, "microsoft")
    assert identity == {"provider_user_id": "87d349ed", "email": "a@contoso", "name": "Adele"}


async def test_linkedin_and_gitlab(provider: IdentityProvider, tmp_path: Path) -> None:
    assert (await _identity(provider, tmp_path, "linkedin"))["email"] == "jane@example.com"
    assert (await _identity(provider, tmp_path, "gitlab"))["email"] == "jane@example.com"


def test_every_provider_of_the_action_is_known() -> None:
    names = OAuth.model_fields["provider"].annotation.__args__
    assert set(names) == set(PROVIDERS)
    assert all(
        one.authorization.startswith("https://") and one.token.startswith("https://") for one in PROVIDERS.values()
    )


def _document(**changed: Any) -> dict[str, Any]:
    return {
        "issuer": "https://id.example/",
        "authorization_endpoint": "https://id.example/auth",
        "token_endpoint": "https://id.example/token",
        "jwks_uri": "https://id.example/keys",
        **changed,
    }


def test_describes_itself() -> None:
    found = discovered(
        "https://id.example", _document(id_token_signing_alg_values_supported=["none", "HS256", "ES256"])
    )
    assert found.issuer == "https://id.example/"
    assert found.algorithms == ("ES256",)
    assert found.basic


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": "http://id.example/keys"},
        {"authorization_endpoint": ["https://id.example"]},
    ],
)
def test_refuses_a_description_that_is_wrong(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"issuer|has no|https"):
        discovered("https://id.example", _document(**changed))


@pytest.mark.parametrize(
    ("url", "kept"), [("https://id.example/end?a=b", True), ("http://id.example/end", False), (7, False), (None, False)]
)
def test_a_page_that_ends_sessions_is_used_where_tokens_are_safe(url: object, kept: bool) -> None:
    assert discovered("https://id.example", _document(end_session_endpoint=url)).end_session == (url if kept else "")


@pytest.mark.parametrize("claims", [{}, {"sub": 7}, {"email": ["a"]}, {"name": {"first": "a"}}])
def test_takes_only_texts_for_a_person(claims: dict[str, Any]) -> None:
    person = openid_person(claims)
    assert all(isinstance(text, str) for text in (person.id, person.email, person.name))
