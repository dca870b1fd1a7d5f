"""Rate limits that nodes count together, in one process: the counts, gates, and Envoy's workers with their real Lua."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kit.lua import Lua
from portico.model.errors import DATABASE_UNUSABLE, PorticoError
from portico.policy.actions.rate_limit import RateLimit
from portico.translate.policy.actions import rate_limit
from portico.translate.policy.lua import literal
from portico.translate.policy.together import Together

_HANDLE: Final = """
local P, milliseconds, said = ...
local metadata = {set = function() end}
local function handle()
  local fields = {get = function() end}
  local info = {dynamicMetadata = function() return metadata end}
  return {
    timestamp = function() return milliseconds() end,
    headers = function() return fields end,
    streamInfo = function() return info end,
    logErr = function(_, words) said(words) end,
    httpCall = function(_, cluster, headers, question) return coroutine.yield(headers[":path"], question) end,
    respond = function(self, headers) self.answered = headers end,
  }
end
return function(action, key)
  local visit = P.Visit.new(handle(), {})
  visit.known["req.url.path"] = key
  visit.phase = "request"
  local thread = coroutine.create(function() return P.action["rate-limit"](visit, action) end)
  return visit, function(...) return coroutine.resume(thread, ...) end
end
"""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Counts:
    """What `store.counters` does in PostgreSQL, with a clock of the test's."""

    clock: Clock
    away: bool = False
    takes: int = 0
    windows: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def take(self, limit: str, key: str, capacity: int, seconds: int, wanted: int) -> tuple[int, float]:
        self._reach()
        self.takes += 1
        ends, used = self.windows.get((limit, key), (0.0, 0))
        if ends <= self.clock():
            ends, used = self.clock() + seconds, 0
        granted = min(wanted, capacity - used, max(1, (capacity - used) // 10))
        self.windows[limit, key] = ends, used + granted
        return granted, ends - self.clock()

    def sweep(self) -> int:
        self._reach()
        return 0

    def _reach(self) -> None:
        if self.away:
            raise PorticoError(DATABASE_UNUSABLE, "it is away")


@dataclass
class Visit:
    """A request on its way through a rate limit."""

    resume: Callable[..., Any]
    state: Any
    question: bytes | None = None
    """What the gate is to be asked now, or nothing."""
    path: str = ""
    waits: int | None = None
    """Retry-After of a visit that was refused."""
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Once nothing is asked any more."""
        return self.waits is None

    def tell(self, *answer: Any) -> None:
        """Go on: at the start without, and then with the gate's answer: status and body."""
        given = ({b":status": str(answer[0]).encode()}, answer[1]) if answer else ()
        done, *found = self._resumed(*given)
        assert done is True, found
        self.question = found[1] if len(found) == 2 else None
        if self.question is not None:
            self.path = found[0].decode()
            return
        ended = self.state[b"handle"][b"answered"]
        assert found == [ended is not None]
        if ended is not None:
            assert ended[b":status"] == b"429"
            self.waits = int(ended[b"retry-after"])

    def _resumed(self, *answer: Any) -> Any:
        return self.resume(*answer)


class Worker:
    """One worker of Envoy: a LuaJIT of its own."""

    def __init__(self, clock: Clock) -> None:
        self.lua = Lua()
        self.said: list[str] = []
        made = self.lua.runtime.execute(
            _HANDLE.encode(),
            self.lua.library,
            lambda: clock() * 1000,
            lambda words: self.said.append(words.decode()),
        )
        self._begin = made

    def action(self, config: RateLimit, among: Together) -> Any:
        """The compiled action, as the program of a filter has it."""
        text = literal(rate_limit.together(config, "on_http_request[0].actions[0]", among).config)
        return self.lua.runtime.execute(f"local P = ...\nreturn {text}".encode(), self.lua.library)

    def begin(self, action: Any, key: str = "/") -> Visit:
        """A visit with this path; it waits where it has a question."""
        state, resume = self._begin(action, key.encode())
        runtime = self.lua.runtime

        def going_on(*answer: Any) -> Any:
            return resume(*(runtime.table_from(one) if isinstance(one, dict) else one for one in answer))

        visit = Visit(going_on, state)
        visit.tell()
        return visit

    def result(self, visit: Visit) -> Any:
        """`actions.ngrok.rate_limit` behind the action."""
        return self.lua.plain(visit.state[b"results"])["rate_limit"]


def limit(capacity: int, seconds: int = 60, **more: Any) -> RateLimit:
    """A limit of each path."""
    wanted = {"name": "l", "algorithm": "sliding_window", "capacity": capacity, "rate": f"{seconds}s"}
    return RateLimit.model_validate({**wanted, "bucket_key": ["req.url.path"], **more})


def lease(granted: int, seconds: float) -> tuple[int, bytes]:
    """An answer of the gate's."""
    return 200, json.dumps({"granted": granted, "seconds": seconds}).encode()
