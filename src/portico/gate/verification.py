"""`jwt-validation`: whether tokens are signed, in time, and of the right issuer and audience (RFC 7519, RFC 8725)."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from portico.gate.answers import Pass, Reply, page
from portico.gate.key_sets import KeySets, KeysUnavailableError
from portico.gate.questions import Token, Verification
from portico.gate.tokens import ReadToken, TokenError, check_time, read_token, signed_by
from portico.model.errors import SOURCE_UNAVAILABLE, TOKEN_REFUSED, PorticoError

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 300.0
"""How long who has asked may let a token pass without asking again: so long a withdrawn key is good."""
_NAMED_KINDS: Final = {
    "id_token": {"", "jwt", "it+jwt"},
    "it+jwt": {"", "jwt", "it+jwt"},
    "access_token": {"", "jwt", "at+jwt"},
    "at+jwt": {"at+jwt"},
    "jwt": {"", "jwt", "at+jwt", "it+jwt"},
}
"""What a token may call itself in `typ` (RFC 8725, 3.11; RFC 9068, 4), so that none passes for one of another kind."""
_MAY_NOT_END: Final = {"jwt", "plain"}


class Verifications:
    """All of them."""

    def __init__(self, key_sets: KeySets, clock: Callable[[], float] = time.time) -> None:
        self._key_sets = key_sets
        self._clock = clock

    async def ask(self, question: Verification) -> Pass | Reply:
        """Whether all tokens are good."""
        now = self._clock()
        try:
            tokens = [await self._verified(token, question, now) for token in question.tokens]
        except TokenError as error:
            challenge = ("www-authenticate", f'Bearer error="invalid_token", error_description="{error}"')
            return page(PorticoError(TOKEN_REFUSED, str(error)), question.accept, [challenge])
        except KeysUnavailableError as error:
            log.warning("tokens are refused: there are no keys", extra={"reason": str(error)})
            return page(PorticoError(SOURCE_UNAVAILABLE, "the keys of tokens cannot be had"), question.accept)
        return Pass(
            results={"tokens": [_result(token) for token in tokens]},
            until=min(now + KEPT_SECONDS, *(token.ends for token in tokens)),
        )

    async def _verified(self, given: Token, question: Verification, now: float) -> ReadToken:
        token = read_token(given.text, question.algorithms)
        if given.type in _NAMED_KINDS and token.type not in _NAMED_KINDS[given.type]:
            raise TokenError("it is a token of another kind")
        if question.by_kid and token.kid is None:
            raise TokenError("it does not name its key")
        check_time(token, now, must_end=given.type not in _MAY_NOT_END)
        if token.claims.get("iss") not in question.issuers:
            raise TokenError("its issuer is not allowed")
        if question.audiences and not set(question.audiences) & set(token.audiences):
            raise TokenError("it is for another audience")
        await self._check_signature(token, question)
        return token

    async def _check_signature(self, token: ReadToken, question: Verification) -> None:
        """By the sets in their order; those that a token itself names (`jku`) are good only if they are among them."""
        sources = question.key_sets
        if "jku" in token.header:
            sources = tuple(url for url in sources if url == token.header["jku"])
            if not sources:
                raise TokenError("its key set is not allowed")
        failed: KeysUnavailableError | None = None
        for again in (False, True):
            for url in sources:
                try:
                    keys = await self._key_sets.keys(url, token.kid, again=again)
                except KeysUnavailableError as error:
                    failed = error
                    continue
                if signed_by(token, keys):
                    return
        if failed is not None:
            raise failed
        raise TokenError("no known key has signed it")


def _result(token: ReadToken) -> dict[str, Any]:
    return {"header": token.header, "payload": token.claims, "signature": token.signature, "verified": True}
