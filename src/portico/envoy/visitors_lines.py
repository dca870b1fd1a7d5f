"""Keeps strangers from filling the log: lines that visitors cause are written at a bounded rate, the rest counted."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

_TLS_NOISE: Final = re.compile(r"TLS_error:|:TLS_error_end|\|?\d+:SSL_routines:OPENSSL_internal:|verify_cert_failed:_")
"""What Envoy puts around the name of BoringSSL's error."""


class VisitorsLines:
    """A token bucket: `rate` lines a second for long, `burst` at once, of facts with `longest` characters at most.

    A certificate's subject, for one, is the visitor's to write.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, *, rate: float = 20, burst: float = 100, longest: int = 300
    ) -> None:
        self._now = now
        self._rate = rate
        self._burst = burst
        self._longest = longest
        self._tokens = burst
        self._seen = now()
        self._dropped = 0

    def admitted(self, facts: object) -> dict[str, Any] | None:
        """The facts to write, with `unwritten`, the number of lines that were not since the last; None for no line."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._rate)
        self._seen = now
        if self._tokens < 1:
            self._dropped += 1
            return None
        self._tokens -= 1
        known = facts.items() if isinstance(facts, dict) else ()
        told = {name: value for name, value in known if value not in (None, "-", "")}
        written: dict[str, Any] = {name: self._text(value) for name, value in told.items()}
        if "reason" in written:
            written["reason"] = _TLS_NOISE.sub("", written["reason"]).replace("_", " ")
        if self._dropped:
            written["unwritten"], self._dropped = self._dropped, 0
        return written

    def _text(self, value: object) -> str:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
        return text[: self._longest]
