"""Keeps strangers from filling the log: lines that visitors cause are written at a bounded rate, the rest counted."""

import re
import time
from collections.abc import Callable
from typing import Any, Final

_RATE: Final = 20.0
"""Lines a second that are written for long."""
_BURST: Final = 100.0
_MAX_TEXT: Final = 300
"""A certificate's subject is the visitor's to write."""
_TLS_NOISE: Final = re.compile(r"TLS_error:|:TLS_error_end|\|?\d+:SSL_routines:OPENSSL_internal:|verify_cert_failed:_")
"""What Envoy puts around the name of BoringSSL's error."""


class VisitorsLines:
    """A token bucket."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tokens = _BURST
        self._seen = now()
        self._dropped = 0

    def admitted(self, facts: object) -> dict[str, Any] | None:
        """The facts to write, with `unwritten`, the number of lines that were not since the last; None for no line."""
        now = self._now()
        self._tokens = min(_BURST, self._tokens + (now - self._seen) * _RATE)
        self._seen = now
        if self._tokens < 1:
            self._dropped += 1
            return None
        self._tokens -= 1
        known = facts.items() if isinstance(facts, dict) else ()
        told = {name: value for name, value in known if value not in (None, "-", "")}
        written: dict[str, Any] = {name: str(value)[:_MAX_TEXT] for name, value in told.items()}
        if "reason" in written:
            written["reason"] = _TLS_NOISE.sub("", written["reason"]).replace("_", " ")
        if self._dropped:
            written["unwritten"], self._dropped = self._dropped, 0
        return written
