"""`oauth` and `openid-connect`: the way of a visitor to the provider and back, and the session that comes of it.

RFC 6749 with PKCE (RFC 7636), state and nonce, as RFC 9700 wants it. Nothing is stored: what must outlast a request
is in cookies that are sealed for this host and this application. The state's cookie is the browser's that began.
"""

import hmac
import logging
import math
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from portico.gate import cookies
from portico.gate.answers import NotMine, Pass, Reply, page
from portico.gate.authority import Authority, SignInEndedError
from portico.gate.browsers import is_navigation, is_preflight, path_of_host
from portico.gate.providers import Provider
from portico.gate.questions import SignIn, SignInAction, SignInPath, Visit
from portico.gate.refreshes import Refreshes
from portico.gate.seal import EdgeSecrets, Seal
from portico.gate.session import Session
from portico.model.errors import POLICY_FAILED, SIGN_IN_FAILED, SIGN_IN_NEEDED, PorticoError
from portico.model.sign_in_tag import sign_in_tag

log = logging.getLogger(__name__)

CALLBACK: Final = "/.portico/oauth/callback"
LOGINS: Final = ("/ngrok/login", "/.portico/oauth/login")
LOGOUTS: Final = ("/ngrok/logout", "/.portico/oauth/logout")
"""ngrok's paths, and our own."""
STATE_SECONDS: Final = 600.0
_MOST_STATES: Final = 6
_LONGEST_HINT: Final = 4_096
"""Characters of an identity token that fit into a URL; without it the provider asks the person."""
_SESSION: Final = "portico-session"
_STATE: Final = "portico-sign-in"


class _State(msgspec.Struct, frozen=True):
    """A sign-in that has begun, in the cookie of the browser that did."""

    state: str
    nonce: str
    verifier: str
    back: str
    """Path of this host, with its query."""
    until: float


class SignIns:
    """All of them."""

    def __init__(self, authority: Authority, edge_secrets: EdgeSecrets, clock: Callable[[], float] = time.time) -> None:
        self._authority = authority
        self._edge_secrets = edge_secrets
        self._clock = clock
        self._refreshes = Refreshes(clock)

    async def ask(self, question: SignIn) -> Pass | Reply:
        """Whether the visitor may pass, or where he is sent."""
        visit, action = question.visit, question.action
        try:
            if action.preflights and is_preflight(visit):
                return Pass()
            there = self._there(visit, action)
            own = await self._path(there)
            return own if own is not None else await self._session(there)
        except PorticoError as error:
            return _refusal(error, visit)

    async def path(self, question: SignInPath) -> NotMine | Reply:
        """The answer to one of the sign-in's own paths, whichever action it is of."""
        try:
            for action in question.actions:
                if (own := await self._path(self._there(question.visit, action))) is not None:
                    return own
        except PorticoError as error:
            return _refusal(error, question.visit)
        return NotMine()

    def _there(self, visit: Visit, action: SignInAction) -> "_There":
        host = urlsplit(f"//{visit.host}").hostname or ""
        domain = action.cookie_domain.lstrip(".").lower()
        if domain and host != domain and not host.endswith(f".{domain}"):
            raise PorticoError(POLICY_FAILED, "auth_cookie_domain is not a domain of this host")
        who = [action.provider, action.issuer, action.client_id, action.auth_id]
        return _There(
            visit=visit,
            action=action,
            jar=cookies.Jar(visit.scheme == "https", domain),
            given=cookies.read(visit.cookies),
            # What was seen on a line without TLS is worth nothing with it.
            seal=Seal(self._edge_secrets.known(), [visit.scheme, domain or host, *who, action.client_secret]),
            tag=sign_in_tag(*who),
        )

    async def _path(self, there: "_There") -> Reply | None:
        path, _, query = there.visit.path.partition("?")
        if path != CALLBACK and path not in LOGINS and path not in LOGOUTS:
            return None
        fields = {name: values[0] for name, values in parse_qs(query, max_num_fields=100).items()}
        if path == CALLBACK:
            # Of an action with another tag it is for that action to answer.
            state = fields.get("state", "")
            return await self._callback(there, fields) if state.startswith(f"{there.tag}.") else None
        if fields.get("auth_id", "") != there.action.auth_id:
            return None
        back = fields.get("redirect_path", "")
        if path in LOGINS:
            return await self._begin(there, back or "/", anew=True)
        return await self._logout(there, back)

    async def _session(self, there: "_There") -> Pass | Reply:
        now, action = self._clock(), there.action
        found = there.session()
        if found is None or not found.alive(action, now):
            return await self._unknown(there)
        session, refreshed = found, False
        if session.wants_refresh(action, now):
            try:
                session, refreshed = (
                    await self._refreshes.refreshed(session, lambda old: self._refresh(there, old)),
                    True,
                )
            except SignInEndedError:
                return await self._unknown(there)
        elif session.wants_renewal(action, now):
            session = session.seen_at(now)
        return Pass(
            results=session.results(action, refreshed=refreshed),
            set_cookies=() if session is found else tuple(there.session_lines(session, now)),
            until=session.kept_until(action, now),
        )

    async def _refresh(self, there: "_There", old: Session) -> Session:
        identity, tokens = await self._authority.refresh(there.action, old.tokens)
        if identity.id != old.identity.id:
            raise SignInEndedError
        return old.refreshed(identity, tokens, self._clock())

    async def _unknown(self, there: "_There") -> Reply:
        """Nobody has signed in: a browser that shows a page is led to the provider, a program is told."""
        if there.visit.path.partition("?")[0] == CALLBACK:
            raise PorticoError(SIGN_IN_FAILED, "this answers no sign-in that began here")
        if is_navigation(there.visit):
            return await self._begin(there, there.visit.path)
        # RFC 9110 wants a challenge; no registered scheme means "sign in with a browser".
        return page(
            PorticoError(SIGN_IN_NEEDED, ""),
            there.visit.headers.get("accept", ""),
            [("www-authenticate", f'Cookie realm="{there.host}", form-action="{LOGINS[1]}"')],
        )

    async def _begin(self, there: "_There", back: str, *, anew: bool = False) -> Reply:
        provider = await self._authority.provider(there.action)
        begun = _State(
            state=f"{there.tag}.{secrets.token_urlsafe(24)}",
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48) if provider.pkce else "",
            back=path_of_host(back),
            until=self._clock() + STATE_SECONDS,
        )
        sealed = there.seal.seal(_STATE, msgspec.json.encode(begun))
        lines = there.jar.lines(_state_cookie(begun.state), sealed, STATE_SECONDS, {})
        location = _with_query(provider.authorization, _page_parameters(there, provider, begun, anew=anew))
        return _redirect(location, [*lines, *there.ended_states()])

    async def _callback(self, there: "_There", fields: Mapping[str, str]) -> Reply:
        begun = there.begun(fields["state"], self._clock())
        if begun is None:
            session = there.session()
            if session is not None and session.alive(there.action, self._clock()):
                return _redirect(there.origin + "/", [])
            raise PorticoError(SIGN_IN_FAILED, "it began in another browser, or too long ago")
        ended = there.jar.ended(_state_cookie(begun.state), there.given)
        try:
            session = await self._signed_in(there, begun, fields)
        except PorticoError as error:
            return _refusal(error, there.visit, ended)
        lines = there.session_lines(session, self._clock())
        return _redirect(there.origin + begun.back, [*lines, *ended])

    async def _signed_in(self, there: "_There", begun: _State, fields: Mapping[str, str]) -> Session:
        provider = await self._authority.provider(there.action)
        said = fields.get("iss")
        if provider.issuer and (said != provider.issuer if said is not None else provider.says_issuer):
            raise PorticoError(SIGN_IN_FAILED, "another provider has answered")
        if "code" not in fields:
            code = fields.get("error", "")
            known = code.isascii() and code.replace("_", "").isalpha() and len(code) <= 40
            raise PorticoError(SIGN_IN_FAILED, f"the provider says {code}" if known else "the provider gave no code")
        identity, tokens = await self._authority.exchange(
            there.action, provider, fields["code"], there.redirect_uri, begun.verifier, begun.nonce
        )
        log.info("somebody signed in", extra={"host": there.host, "provider": provider.name})
        return Session.begun(identity, tokens, self._clock())

    async def _logout(self, there: "_There", back: str) -> Reply:
        lines = [*there.jar.ended(there.session_cookie, there.given), *there.ended_states(keep=0)]
        if page_of_provider := await self._end_session(there, back):
            return _redirect(page_of_provider, lines)
        if back:
            return _redirect(there.origin + path_of_host(back), lines)
        fields = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]
        return Reply(status=200, headers=(*fields, *_cookies(lines)), body="You are signed out here.\n")

    async def _end_session(self, there: "_There", back: str) -> str:
        """The provider's page that ends its own session of this person, too; empty where there is none."""
        session = there.session()
        if session is None or not session.tokens.identity:
            return ""
        try:
            provider = await self._authority.provider(there.action)
        except PorticoError:
            return ""  # who signs out here is signed out here, whether or not the provider can be asked
        hint = session.tokens.identity
        fields = {
            "client_id": there.action.client_id,
            **({"id_token_hint": hint} if len(hint) <= _LONGEST_HINT else {}),
            # Providers lead back only to addresses that they were told of beforehand.
            **({"post_logout_redirect_uri": there.origin + path_of_host(back)} if back else {}),
        }
        return provider.end_session and _with_query(provider.end_session, fields)


@dataclass(frozen=True, slots=True)
class _There:
    """One action for one visit."""

    visit: Visit
    action: SignInAction
    jar: cookies.Jar
    given: Mapping[str, str]
    seal: Seal
    tag: str
    """Tells sign-ins of one host apart."""

    @property
    def host(self) -> str:
        return self.visit.host

    @property
    def origin(self) -> str:
        return f"{self.visit.scheme}://{self.visit.host}"

    @property
    def redirect_uri(self) -> str:
        return self.origin + CALLBACK

    @property
    def session_cookie(self) -> str:
        return f"{_SESSION}-{self.tag}"

    def session(self) -> Session | None:
        """What the visitor's cookies hold."""
        data = self.seal.open(_SESSION, self.jar.value(self.given, self.session_cookie))
        return None if data is None else Session.read(data)

    def session_lines(self, session: Session, now: float) -> list[str]:
        """Cookies for it. Raises PorticoError where it is too large for them."""
        sealed = self.seal.seal(_SESSION, session.written())
        try:
            return self.jar.lines(self.session_cookie, sealed, math.ceil(session.ends(self.action) - now), self.given)
        except ValueError:
            raise PorticoError(SIGN_IN_FAILED, "the provider's tokens are too large to be kept in cookies") from None

    def begun(self, state: str, now: float) -> _State | None:
        """The sign-in that this browser has begun with this state."""
        data = self.seal.open(_STATE, self.jar.value(self.given, _state_cookie(state)))
        if data is None:
            return None
        found = msgspec.json.decode(data, type=_State)
        good = hmac.compare_digest(found.state.encode(), state.encode()) and now < found.until
        return found if good else None

    def ended_states(self, keep: int = _MOST_STATES) -> list[str]:
        """Ends cookies of sign-ins that were never finished, where they have become many."""
        begun = [name for name in self.given if name.startswith(self.jar.name(_STATE))]
        base = len(self.jar.name(""))
        return [line for name in begun if len(begun) > keep for line in self.jar.ended(name[base:], self.given)]


def _page_parameters(there: _There, provider: Provider, begun: _State, *, anew: bool) -> dict[str, str]:
    """What the provider's page is told (RFC 6749, 4.1.1); `anew` asks it to look at the person again."""
    found = {
        **there.action.parameters,
        "response_type": "code",
        "client_id": there.action.client_id,
        "redirect_uri": there.redirect_uri,
        "scope": " ".join(dict.fromkeys((*provider.scopes, *there.action.scopes))),
        "state": begun.state,
    }
    if provider.issuer:
        found["nonce"] = begun.nonce
        found |= {"prompt": "login"} if anew else {}
    if begun.verifier:
        found["code_challenge"] = _challenge(begun.verifier)
        found["code_challenge_method"] = "S256"
    return found


def _challenge(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _state_cookie(state: str) -> str:
    return f"{_STATE}-{sha256(state.encode()).hexdigest()[:16]}"


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _cookies(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [("set-cookie", line) for line in lines]


def _redirect(location: str, lines: Sequence[str]) -> Reply:
    fields = [("location", location), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")]
    return Reply(status=302, headers=(*fields, *_cookies(lines)))


def _refusal(error: PorticoError, visit: Visit, lines: Sequence[str] = ()) -> Reply:
    log.warning("a sign-in is refused", extra={"host": visit.host, "code": str(error.code), "reason": error.message})
    return page(error, visit.headers.get("accept", ""), _cookies(lines))
