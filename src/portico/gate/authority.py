"""What is asked of a provider behind the visitor's back (RFC 6749; OpenID Connect Core 1.0)."""

import json
import logging
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from portico.gate.key_sets import KeySets, KeysUnavailableError
from portico.gate.outbound import Outbound, OutboundError
from portico.gate.providers import PROVIDERS, Person, Provider, discovered
from portico.gate.questions import SignInAction
from portico.gate.session import Identity, Tokens
from portico.gate.tokens import ReadToken, TokenError, check_time, read_token, signed_by
from portico.model.errors import SIGN_IN_FAILED, SOURCE_UNAVAILABLE, PorticoError

log = logging.getLogger(__name__)
DISCOVERY_SECONDS: Final = 3_600.0
_STALE_SECONDS: Final = 86_400.0
_AGAIN_SECONDS: Final = 5.0
_MOST_ISSUERS: Final = 1_000


class SignInEndedError(Exception):
    """The provider no longer vouches for a person: the refresh token or the access token is not good any more."""


class Authority:
    """The providers, as one who asks them."""

    def __init__(
        self,
        outbound: Outbound,
        key_sets: KeySets,
        providers: Mapping[str, Provider] = PROVIDERS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._outbound = outbound
        self._key_sets = key_sets
        self._providers = providers
        self._clock = clock
        self._described: OrderedDict[str, tuple[float, Provider]] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()

    async def provider(self, action: SignInAction) -> Provider:
        """The one that the action names. Raises PorticoError where it cannot be had."""
        if action.provider:
            if action.provider not in self._providers:
                raise PorticoError(SOURCE_UNAVAILABLE, "this provider is not known here")
            return self._providers[action.provider]
        fetched, known = self._described.get(action.issuer, (0.0, None))
        now = self._clock()
        if known is not None and now < fetched + DISCOVERY_SECONDS:
            return known
        if now >= self._failed.get(action.issuer, 0.0) + _AGAIN_SECONDS:
            try:
                return self._keep(action.issuer, await self._discover(action.issuer))
            except (OutboundError, ValueError) as error:
                self._failed[action.issuer] = now
                _forget(self._failed)
                log.warning("a provider cannot be discovered", extra={"issuer": action.issuer, "reason": str(error)})
        if known is not None and now < fetched + _STALE_SECONDS:
            return known
        raise PorticoError(SOURCE_UNAVAILABLE, "the sign-in provider cannot be reached")

    async def exchange(
        self, action: SignInAction, provider: Provider, code: str, redirect: str, verifier: str, nonce: str
    ) -> tuple[Identity, Tokens]:
        """Tokens for a code, and whom they speak of. Raises PorticoError."""
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        try:
            answer = await self._ask_token(action, provider, fields | ({"code_verifier": verifier} if verifier else {}))
        except SignInEndedError:
            raise PorticoError(SIGN_IN_FAILED, "the provider did not accept the sign-in") from None
        tokens = _tokens(answer, self._clock())
        person: Person | None = None
        if provider.issuer:
            claims = (await self._verified(action, provider, tokens.identity, nonce)).claims
            person = provider.read(claims)
        try:
            return _identity(provider, await self._completed(provider, action, tokens, person)), tokens
        except SignInEndedError:
            raise PorticoError(SIGN_IN_FAILED, "the provider did not say who signed in") from None

    async def refresh(self, action: SignInAction, old: Tokens) -> tuple[Identity, Tokens]:
        """Who it is now. Raises SignInEndedError, and PorticoError where the provider cannot be asked."""
        provider = await self.provider(action)
        tokens = old
        if old.refresh and (old.until is None or self._clock() >= old.until - 30):
            answer = await self._ask_token(
                action, provider, {"grant_type": "refresh_token", "refresh_token": old.refresh}
            )
            fresh = _tokens(answer, self._clock())
            tokens = _with_old(fresh, old)
        if not provider.userinfo:
            raise SignInEndedError
        return _identity(provider, await self._userinfo(provider, action, tokens)), tokens

    async def _discover(self, issuer: str) -> Provider:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        answer = await self._outbound.send("GET", url, headers={"accept": "application/json"}, redirects=3)
        if answer.status != 200:
            raise OutboundError(f"it answered with status {answer.status}")
        return discovered(issuer, _json(answer.body))

    def _keep(self, issuer: str, provider: Provider) -> Provider:
        self._described[issuer] = (self._clock(), provider)
        self._described.move_to_end(issuer)
        _forget(self._described)
        return provider

    async def _ask_token(self, action: SignInAction, provider: Provider, fields: dict[str, str]) -> dict[str, Any]:
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        if provider.basic:
            pair = f"{quote_plus(action.client_id)}:{quote_plus(action.client_secret)}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        else:
            fields = {**fields, "client_id": action.client_id, "client_secret": action.client_secret}
        status, answer = await self._asked(provider, "POST", provider.token, headers, urlencode(fields).encode())
        if status != 200 or not isinstance(answer.get("access_token"), str):
            reason = _code(answer.get("error"))
            log.warning("a provider gave no tokens", extra={"provider": provider.name, "reason": reason})
            if reason == "invalid_client":
                raise PorticoError(SIGN_IN_FAILED, "the provider does not know this application, or its secret")
            raise SignInEndedError
        return answer

    async def _verified(self, action: SignInAction, provider: Provider, text: str, nonce: str) -> ReadToken:
        """The identity token (OpenID Connect Core, 3.1.3.7)."""
        try:
            token = read_token(text, provider.algorithms)
            check_time(token, self._clock(), must_end=True)
            if fault := _fault(token, action, provider, nonce):
                raise TokenError(fault)  # noqa: TRY301  (one way out for all that is wrong with it)
            await self._check_signature(provider, token)
        except TokenError as error:
            log.warning("an identity token is refused", extra={"provider": provider.name, "reason": str(error)})
            raise PorticoError(SIGN_IN_FAILED, f"the provider's identity token is not good: {error}") from None
        return token

    async def _check_signature(self, provider: Provider, token: ReadToken) -> None:
        try:
            for again in (False, True):
                if signed_by(token, await self._key_sets.keys(provider.key_set, token.kid, again=again)):
                    return
        except KeysUnavailableError:
            raise PorticoError(SOURCE_UNAVAILABLE, "the sign-in provider's keys cannot be had") from None
        raise TokenError("none of its keys has signed it")

    async def _completed(
        self, provider: Provider, action: SignInAction, tokens: Tokens, person: Person | None
    ) -> Person:
        """What the identity token says; userinfo is asked where that leaves something open."""
        if person is not None and ((person.email and person.name) or not provider.userinfo):
            return person
        asked = await self._userinfo(provider, action, tokens)
        if person is None:
            return asked
        if asked.id != person.id:
            raise PorticoError(SIGN_IN_FAILED, "the provider speaks of two people at once")
        return Person(person.id, person.email or asked.email, person.name or asked.name)

    async def _userinfo(self, provider: Provider, action: SignInAction, tokens: Tokens) -> Person:
        headers = {"authorization": f"Bearer {tokens.access}", "accept": "application/json"}
        if provider.name == "twitch":
            headers["client-id"] = action.client_id
        status, answer = await self._asked(provider, "GET", provider.userinfo, headers)
        if provider.emails and status == 200:
            _, addresses = await self._asked(provider, "GET", provider.emails, headers)
            answer = {**answer, "emails": addresses.get("list", [])}
        if status != 200 or not (person := provider.read(answer)).id:
            log.warning("a provider did not say who somebody is", extra={"provider": provider.name, "status": status})
            raise SignInEndedError
        return person

    async def _asked(
        self, provider: Provider, method: str, url: str, headers: dict[str, str], content: bytes = b""
    ) -> tuple[int, dict[str, Any]]:
        try:
            answer = await self._outbound.send(method, url, headers=headers, content=content)
        except OutboundError as error:
            log.warning("a provider does not answer", extra={"provider": provider.name, "reason": str(error)})
            raise PorticoError(SOURCE_UNAVAILABLE, "the sign-in provider does not answer") from None
        if answer.status >= 500 or answer.status == 429:
            log.warning("a provider fails", extra={"provider": provider.name, "status": answer.status})
            raise PorticoError(SOURCE_UNAVAILABLE, "the sign-in provider fails")
        try:
            return answer.status, _json(answer.body)
        except ValueError:
            return answer.status, {}


def _fault(token: ReadToken, action: SignInAction, provider: Provider, nonce: str) -> str:
    """Why this identity token does not answer this sign-in, or nothing."""
    claims = token.claims
    if claims.get("iss") != provider.issuer:
        return "it is of another issuer"
    if action.client_id not in token.audiences:
        return "it is for another application"
    if claims.get("azp", action.client_id) != action.client_id:
        return "it was made for another application"
    return "" if claims.get("nonce") == nonce else "it answers another question"


def _with_old(fresh: Tokens, old: Tokens) -> Tokens:
    """A refresh gives only what changes (RFC 6749, 6)."""
    return Tokens(fresh.access, fresh.refresh or old.refresh, fresh.identity or old.identity, fresh.until)


def _tokens(answer: Mapping[str, Any], now: float) -> Tokens:
    seconds = answer.get("expires_in")
    if isinstance(seconds, str) and seconds.isdigit():
        seconds = int(seconds)
    until = now + seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
    texts = [answer.get(name) for name in ("access_token", "refresh_token", "id_token")]
    access, refresh, identity = (text if isinstance(text, str) else "" for text in texts)
    return Tokens(access, refresh, identity, until)


def _identity(provider: Provider, person: Person) -> Identity:
    number = sha256(f"{provider.name}\n{person.id}".encode()).hexdigest()[:32]
    return Identity(f"idn_{number}", person.email, person.name, person.id)


def _json(body: bytes) -> dict[str, Any]:
    """An object; a list is what `list` says. Raises ValueError."""
    try:
        found = json.loads(body)
    except RecursionError:
        found = None
    if isinstance(found, list):
        return {"list": found}
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004  (what callers gather)
    return found


def _code(value: object) -> str:
    """An error code of a provider, for the log: nothing that could be a secret, or a line of its own."""
    text = value if isinstance(value, str) else "none"
    return "".join(one for one in text[:40] if one.isascii() and (one.isalnum() or one in "_-."))


def _forget(entries: "OrderedDict[str, Any]") -> None:
    while len(entries) > _MOST_ISSUERS:
        entries.popitem(last=False)
