"""`http-request`: sends a request for a policy, and again while its `retry_condition` holds."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from portico.gate.outbound import Answer, Outbound, OutboundError
from portico.gate.questions import Errand
from portico.policy.expressions import Expression, compile_expression, evaluate
from portico.version import __version__

log = logging.getLogger(__name__)

HOPS: Final = "portico-http-request-hops"
"""Request header that counts how often errands of policies have led to errands of policies."""
MOST_HOPS: Final = 3
MOST_RETRIES: Final = 3
_PAUSE: Final = 0.05
"""Seconds before another attempt; doubled each time."""


class ErrandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`actions.ngrok.http_request`."""

    req: dict[str, Any]
    res: dict[str, Any] | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    error: str = ""
    """Why there is no answer, or nothing."""

    def __repr__(self) -> str:
        return f"ErrandAnswer(error={self.error!r}, …)"


class Errands:
    """Runs them."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def run(self, errand: Errand) -> ErrandAnswer:
        """Send it. What goes wrong is part of the answer."""
        headers = _headers(errand)
        req = {"method": errand.method, "url": errand.url, "header": _by_name(headers.items()), "body": errand.body}
        hops = int(headers[HOPS])
        if hops > MOST_HOPS:
            return ErrandAnswer(req=req, error="requests of policies lead to requests of policies in a circle")
        attempts: list[dict[str, Any]] = []
        res, error = None, ""
        try:
            async with asyncio.timeout(errand.seconds):
                for number in range(1, MOST_RETRIES + 2):
                    res, error = await self._attempt(errand, headers)
                    attempts.append(_attempt(res))
                    if number > MOST_RETRIES or not _again(errand.retry, number, req, res, error):
                        break
                    await asyncio.sleep(_PAUSE * 2 ** (number - 1))
        except TimeoutError:
            res, error = None, f"no answer within {errand.seconds:g} s"
        if error:
            log.warning("an http-request has failed", extra={"reason": error})
        return ErrandAnswer(req=req, res=res, attempts=tuple(attempts), error=error)

    async def _attempt(self, errand: Errand, headers: Mapping[str, str]) -> tuple[dict[str, Any] | None, str]:
        try:
            answer = await self._outbound.send(
                errand.method,
                errand.url,
                headers=headers,
                content=errand.body.encode(),
                parameters=errand.parameters,
                redirects=errand.redirects,
                inner=errand.inner,
                seconds=errand.seconds,
            )
        except OutboundError as error:
            return None, str(error)
        if answer.status in (301, 302, 303, 307, 308) and errand.redirects:
            return None, "there were too many redirects"
        return _res(answer), ""


def _headers(errand: Errand) -> dict[str, str]:
    """The author's, and our own, which tell whose request this is."""
    given = {name.lower(): value for name, value in errand.headers.items()}
    hops = int(errand.hops) + 1 if errand.hops.isascii() and errand.hops.isdigit() and len(errand.hops) < 3 else 1
    own = {
        "user-agent": f"portico/{__version__}",
        "portico-req-type": "http-request",
        "portico-req-id": secrets.token_hex(16),
    }
    forced = {HOPS: str(hops), **({"x-forwarded-for": errand.visitor} if errand.visitor else {})}
    return {**own, **given, **forced}


def _res(answer: Answer) -> dict[str, Any]:
    return {
        "resolved_ip": answer.address,
        "header": _by_name(answer.headers),
        "status_code": answer.status,
        "time_ms": str(round(answer.seconds * 1000)),
        "body": answer.body.decode(errors="replace"),
    }


def _attempt(res: Mapping[str, Any] | None) -> dict[str, Any]:
    found = res or {}
    return {
        "resolved_ip": found.get("resolved_ip", ""),
        "response_header": found.get("header", {}),
        "response_status_code": found.get("status_code", 0),
        "response_time_ms": found.get("time_ms", ""),
    }


def _by_name(pairs: Any) -> dict[str, list[str]]:
    """Header fields as expressions see them: a list of values a name."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _again(condition: str, attempts: int, req: Mapping[str, Any], res: Mapping[str, Any] | None, error: str) -> bool:
    """Whether `retry_condition` holds. One that fails is false: it asks for what this attempt has not."""
    if condition == "false":
        return False  # what most say, without CEL's library and its 15 MB
    expression = compile_expression(condition)
    if not isinstance(expression, Expression):
        return False
    # `statusCode` is how ngrok's example writes it; its reference has `status_code`.
    seen = {} if res is None else {**res, "statusCode": res["status_code"]}
    last = {"req": dict(req), "res": seen, "error": error}
    return evaluate(expression, {"attempts": attempts, "last_attempt": last}) is True
