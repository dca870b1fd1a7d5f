"""Cookies as the edge sets them: whole, or cut into several where one would be too large (RFC 6265bis)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PART: Final = 3800
"""Characters of a value: browsers keep 4096 bytes of name, value and attributes together."""
MOST_PARTS: Final = 8
_PAIR: Final = re.compile(r"\s*([^=;\s]+)\s*=\s*([^;]*?)\s*(?:;|$)")


def read(header: str) -> dict[str, str]:
    """The cookies of a request; of two with one name, the first."""
    found: dict[str, str] = {}
    for name, value in _PAIR.findall(header):
        found.setdefault(name, value)
    return found


@dataclass(frozen=True, slots=True)
class Jar:
    """How cookies of one sign-in are called, and where they are valid."""

    secure: bool
    domain: str = ""

    def name(self, base: str) -> str:
        """With the prefix by which browsers let no sibling host set it, where there is one."""
        if not self.secure:
            return base
        return f"__Secure-{base}" if self.domain else f"__Host-{base}"

    def value(self, given: Mapping[str, str], base: str) -> str:
        """The value that `lines` has cut, or nothing."""
        name = self.name(base)
        parts = [given.get(name, "")]
        while len(parts) < MOST_PARTS and (more := given.get(f"{name}-{len(parts)}")):
            parts.append(more)
        return "".join(parts)

    def lines(self, base: str, value: str, seconds: float, given: Mapping[str, str]) -> list[str]:
        """Set-Cookie fields for `value`; parts of an earlier, longer one end. Raises ValueError if it is too long."""
        name = self.name(base)
        parts = [value[at : at + PART] for at in range(0, len(value), PART)]
        if len(parts) > MOST_PARTS:
            raise ValueError("the session is too large for cookies")
        names = [name, *(f"{name}-{number}" for number in range(1, MOST_PARTS))]
        kept = [self._line(one, part, seconds) for one, part in zip(names, parts, strict=False)]
        return kept + [self._line(one, "", 0) for one in names[len(parts) :] if one in given]

    def ended(self, base: str, given: Mapping[str, str]) -> list[str]:
        """Set-Cookie fields that end it."""
        return self.lines(base, "", 0, given)

    def _line(self, name: str, value: str, seconds: float) -> str:
        attributes = [f"{name}={value}", "Path=/", f"Max-Age={max(0, int(seconds))}", "HttpOnly", "SameSite=Lax"]
        attributes += ["Secure"] if self.secure else []
        attributes += [f"Domain={self.domain}"] if self.domain else []
        return "; ".join(attributes)
