"""Signed tokens (JWT, RFC 7519; JWS, RFC 7515): whether one is signed by a key of its issuer, and in time.

The library does the cryptography; the rules are those of RFC 8725: only algorithms that were asked for, each only with
keys of its kind, no extensions that nobody understands.
"""

import json
import math
import warnings
from base64 import urlsafe_b64decode
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jws import JWSRegistry

from portico.gate.key_sets import Key

LEEWAY: Final = 30.0
"""Seconds that clocks may differ."""
LONGEST: Final = 16_384
_KIND_OF: Final = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_SHORTEST_RSA: Final = 2048
"""Bits (RFC 7518, 3.3 and 3.5)."""


class TokenError(Exception):
    """The token is not good; the text says why, and shows nothing of it."""


class _Registry(JWSRegistry):
    """Certificates in a header (`x5c`) are longer than the library expects."""

    max_header_length = LONGEST
    max_payload_length = LONGEST
    max_signature_length = LONGEST


@dataclass(frozen=True, slots=True)
class ReadToken:
    """A token taken apart; nothing of it is verified yet."""

    text: str = field(repr=False)
    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)
    signature: str = field(repr=False)

    @property
    def algorithm(self) -> str:
        """`alg`."""
        return str(self.header["alg"])

    @property
    def kid(self) -> str | None:
        """The key that it names."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None

    @property
    def type(self) -> str:
        """`typ`, in lower case and without `application/` (RFC 7515, 4.1.9)."""
        return str(self.header.get("typ", "")).lower().removeprefix("application/")

    @property
    def ends(self) -> float:
        """When it must not be accepted any more."""
        expires = self.claims.get("exp")
        return math.inf if expires is None else float(expires) + LEEWAY

    @property
    def audiences(self) -> tuple[str, ...]:
        """`aud`, one or several."""
        found = self.claims.get("aud", ())
        return (found,) if isinstance(found, str) else tuple(found)


def read_token(text: str, algorithms: Collection[str]) -> ReadToken:
    """Take it apart and check its form. Raises TokenError."""
    parts = text.split(".")
    if len(text) > LONGEST or len(parts) != 3:
        raise TokenError("this is no signed token")
    header, claims = _object(parts[0]), _object(parts[1])
    if header.get("alg") not in algorithms or header["alg"] == "none":
        raise TokenError("its algorithm is not allowed")
    if "crit" in header or header.get("b64") is False:
        raise TokenError("it has extensions that are not known here")
    if not isinstance(header.get("typ", ""), str) or not isinstance(header.get("kid", ""), str):
        raise TokenError("its header is malformed")
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_time(claims[name]):
            raise TokenError(f"its {name} is no time")
    audience = claims.get("aud", "")
    if not isinstance(audience, str) and not (
        isinstance(audience, list) and all(isinstance(one, str) for one in audience)
    ):
        raise TokenError("its aud is malformed")
    return ReadToken(text, header, claims, parts[2])


def check_time(token: ReadToken, now: float, *, must_end: bool) -> None:
    """Raises TokenError where it is not good now."""
    if must_end and "exp" not in token.claims:
        raise TokenError("it never ends")
    if now >= token.ends:
        raise TokenError("it has expired")
    if now + LEEWAY < max(token.claims.get("nbf", 0), 0):
        raise TokenError("it is not good yet")


def signed_by(token: ReadToken, keys: Iterable[Key]) -> bool:
    """Whether one of these keys has signed it. Keys that cannot have are not tried."""
    return any(_fits(key, token.algorithm) and _signed(token, key) for key in keys)


def _signed(token: ReadToken, key: Key) -> bool:
    registry = _Registry(algorithms=[token.algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        # The library wants `Ed25519` (RFC 9864); providers and policies still write `EdDSA`.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            jws.deserialize_compact(token.text, key, registry=registry)
        except (JoseError, ValueError, TypeError):
            return False
    return True


def _fits(key: Key, algorithm: str) -> bool:
    if key.key_type != _KIND_OF.get(algorithm[:2]):
        return False
    if key.key_type == "RSA" and int(getattr(key.raw_value, "key_size", 0)) < _SHORTEST_RSA:
        return False
    return key.alg is None or key.alg == algorithm


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TokenError("this is no signed token")
    return found


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
