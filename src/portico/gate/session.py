"""Who has signed in, and for how long. Pure; time is an argument, in seconds since the epoch."""

import secrets
from datetime import UTC, datetime
from typing import Any, Final, Self

import msgspec

from portico.gate.questions import SignInAction

LONGEST: Final = 14 * 86_400.0
"""Where the action sets no `max_session_duration`."""
KEPT_SECONDS: Final = 30.0
"""How long who has asked may let a visitor pass without asking again."""


class Identity(msgspec.Struct, frozen=True):
    """A person, as the provider knows him."""

    id: str
    """Of this person at this provider, the same at every edge."""
    email: str
    name: str
    provider_user_id: str

    def __repr__(self) -> str:
        return "Identity(…)"


class Tokens(msgspec.Struct, frozen=True):
    """What the provider gave for a person."""

    access: str
    refresh: str = ""
    identity: str = ""
    until: float | None = None
    """When the access token ends, where the provider says so."""

    def __repr__(self) -> str:
        return "Tokens(…)"


class Session(msgspec.Struct, frozen=True):
    """A sign-in that has succeeded; all of it is in the visitor's cookies."""

    id: str
    began: float
    seen: float
    asked: float
    """When the provider told who this is."""
    identity: Identity
    tokens: Tokens

    def __repr__(self) -> str:
        return "Session(…)"

    @classmethod
    def begun(cls, identity: Identity, tokens: Tokens, now: float) -> Self:
        """A new one."""
        return cls(secrets.token_hex(16), now, now, now, identity, tokens)

    @classmethod
    def read(cls, data: bytes) -> Self | None:
        """What `written` gave; None for what an older edge wrote."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except msgspec.DecodeError:
            return None

    def written(self) -> bytes:
        """For the seal."""
        return msgspec.msgpack.encode(self)

    def ends(self, action: SignInAction) -> float:
        """When it ends if nobody comes."""
        whole = self._longest_until(action)
        return whole if action.idle is None else min(whole, self.seen + action.idle)

    def reached_longest(self, action: SignInAction, now: float) -> bool:
        """Whether it has lasted as long as it may."""
        return now >= self._longest_until(action)

    def alive(self, action: SignInAction, now: float) -> bool:
        """Whether it has not ended."""
        return self.began <= now + KEPT_SECONDS and now < self.ends(action)

    def wants_refresh(self, action: SignInAction, now: float) -> bool:
        """Whether the provider is to be asked again."""
        return action.refresh is not None and now >= self.asked + action.refresh

    def wants_renewal(self, action: SignInAction, now: float) -> bool:
        """Whether the cookie must say anew that somebody was there."""
        return action.idle is not None and now >= self.seen + self._quiet(action)

    def kept_until(self, action: SignInAction, now: float) -> float:
        """Until when it may be believed without a question."""
        until = min(now + KEPT_SECONDS, self.ends(action))
        if action.refresh is not None:
            until = min(until, self.asked + action.refresh)
        if action.idle is not None:
            until = min(until, self.seen + self._quiet(action))
        return until

    def seen_at(self, now: float) -> Self:
        """Somebody was there."""
        return msgspec.structs.replace(self, seen=now)

    def refreshed(self, identity: Identity, tokens: Tokens, now: float) -> Self:
        """The provider has told again who it is."""
        return msgspec.structs.replace(self, seen=now, asked=now, identity=identity, tokens=tokens)

    def results(self, action: SignInAction, *, refreshed: bool) -> dict[str, Any]:
        """`actions.ngrok.oauth` or `actions.ngrok.oidc`, where the session is alive."""
        who = self.identity
        found = {
            "identity": {
                "id": who.id,
                "email": who.email,
                "name": who.name,
                "provider_user_id": who.provider_user_id,
            },
            "access_token": self.tokens.access,
            "refresh_token": self.tokens.refresh,
            "expires_at": datetime.fromtimestamp(int(self.ends(action)), UTC).isoformat().replace("+00:00", "Z"),
            "session_timed_out": False,
            "session_max_duration_reached": False,
            "userinfo_refreshed": refreshed,
        }
        return found if action.provider else {**found, "identity_token": self.tokens.identity}

    def _longest_until(self, action: SignInAction) -> float:
        return self.began + (LONGEST if action.longest is None else action.longest)

    @staticmethod
    def _quiet(action: SignInAction) -> float:
        """How much of the idle time may pass before the cookie says anew that somebody was there."""
        return min(60.0, (action.idle or 0.0) / 4)
