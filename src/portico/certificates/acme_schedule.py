"""When an automatic certificate is ordered, renewed and tried again. Pure: time and chance are arguments."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from portico.model.acme import AcmeCertificate
from portico.model.endpoint import KeyPair

RENEW_AFTER: Final = 2 / 3
"""Part of a certificate's time after which it is renewed, where the authority suggests no window (RFC 9773)."""
MAX_WAIT: Final = timedelta(hours=6)
MAX_ERROR: Final = 500
"""Characters kept of an authority's complaint."""


def due_at(record: AcmeCertificate, now: datetime) -> datetime:
    """When to order; not later than `now` means at once."""
    wanted = record.renew_at if record.pair is not None and record.renew_at is not None else now
    return max(wanted, record.next_attempt) if record.next_attempt is not None else wanted


def is_valid(record: AcmeCertificate, now: datetime) -> bool:
    """Whether there is a certificate that visitors accept."""
    if record.pair is None or record.not_before is None or record.not_after is None:
        return False
    return record.not_before <= now < record.not_after


def succeeded(
    record: AcmeCertificate, pair: KeyPair, valid: tuple[datetime, datetime], directory: str
) -> AcmeCertificate:
    """The record with its new certificate."""
    begin, end = valid
    return replace(
        record,
        pair=pair,
        not_before=begin,
        not_after=end,
        directory=directory,
        renew_at=begin + (end - begin) * RENEW_AFTER,
        failures=0,
        last_error="",
        next_attempt=None,
    )


def failed(
    record: AcmeCertificate, error: str, now: datetime, *, first_wait: float, chance: float, retry_at: datetime | None
) -> AcmeCertificate:
    """The record after an order failed: the wait doubles each time, less up to a half by `chance` (0 to 1).

    `retry_at` is the moment before which the authorities want no other try (Retry-After).
    """
    wait = min(timedelta(seconds=first_wait) * 2 ** min(record.failures, 30), MAX_WAIT) * (1 - chance / 2)
    moment = max(now + wait, retry_at) if retry_at is not None else now + wait
    return replace(record, failures=record.failures + 1, last_error=error[:MAX_ERROR], next_attempt=moment)


def within_window(record: AcmeCertificate, window: tuple[datetime, datetime], chance: float) -> AcmeCertificate:
    """The record with its renewal at a moment of the authority's window (RFC 9773, 4.2), never after its end."""
    start, end = window
    moment = start + (end - start) * chance
    return replace(record, renew_at=min(moment, record.not_after) if record.not_after else moment)


@dataclass(slots=True)
class Budget:
    """How many orders may begin: so many at once, and then so many an hour."""

    per_hour: int
    _left: float
    _at: datetime

    @classmethod
    def full(cls, per_hour: int, now: datetime) -> "Budget":
        """One that nothing was taken from."""
        return cls(per_hour, float(per_hour), now)

    def take(self, now: datetime) -> datetime | None:
        """None if an order may begin now; otherwise when the next one may."""
        gained = max((now - self._at).total_seconds(), 0.0) * self.per_hour / 3_600
        self._left, self._at = min(self._left + gained, float(self.per_hour)), now
        if self._left >= 1:
            self._left -= 1
            return None
        return now + timedelta(seconds=(1 - self._left) * 3_600 / self.per_hour)
