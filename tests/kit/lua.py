"""The Lua that policies become, run by the same LuaJIT that Envoy has (as `lupa`), with values in both directions."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from lupa.luajit21 import LuaRuntime

from portico.translate.policy.runtime_source import runtime_source

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VISIT: Final = """
local P = ...
local Visit = {}
Visit.__index = Visit
function Visit.get(visit, name)
  local value = visit.values[name]
  if value == nil then P.fail(name .. " is not known here") end
  return value
end
function Visit.set(visit, name, value) visit.values[name] = value end
return function() return setmetatable({values = {}}, Visit) end
"""
_STRICT: Final = """
local function refuse(_, name) error("there is no global " .. tostring(name), 2) end
setmetatable(_G, {__index = refuse, __newindex = refuse})
"""
_CALL: Final = """
local P = ...
return function(body, ...)
  local done, value = pcall(body, ...)
  if done then return true, value end
  return false, P.reason_of(value), type(value) == "table" and getmetatable(value) == P.Failure
end
"""


class LuaError(Exception):
    """The failure that an expression raised, in its words."""


class LuaBrokenError(Exception):
    """What Lua raised beside failures: a mistake in the library."""


class Lua:
    """A LuaJIT with the runtime loaded, in which nothing reads or makes a global that Lua itself has not."""

    def __init__(self) -> None:
        self.runtime = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False)
        self.runtime.execute(_STRICT.encode())
        self.library = self.runtime.execute((runtime_source() + "return P").encode())
        self._visit = self.runtime.execute(_VISIT.encode(), self.library)
        self._call = self.runtime.execute(_CALL.encode(), self.library)

    def evaluate(self, text: str, values: Mapping[str, Any] | None = None) -> Any:
        """The plain value of a Lua expression over `P` and `v` where variables have these values. Raises LuaError."""
        body = self.runtime.execute(
            f"local P, v = ...\nreturn function() return {text} end".encode(), self.library, self.visit(values or {})
        )
        return self.plain(self.call(body))

    def visit(self, values: Mapping[str, Any]) -> Any:
        """A visit whose variables have these values."""
        visit = self._visit()
        for name, value in values.items():
            visit[b"values"][name.encode()] = self.value(value)
        return visit

    def call(self, body: Any, *arguments: Any) -> Any:
        """What a function of Lua gives for arguments that are Lua's already. Raises LuaError."""
        done, *found = self._call(body, *arguments)
        if not done:
            raise (LuaError if found[1] else LuaBrokenError)(found[0].decode(errors="replace"))
        return found[0] if found else None

    def function(self, name: str, *arguments: Any) -> Any:
        """The plain value of `P.fn[name]` for plain arguments. Raises LuaError."""
        return self.plain(self.call(self.library[b"fn"][name.encode()], *map(self.value, arguments)))

    def value(self, plain: Any) -> Any:
        """A plain value as Lua has it."""
        library = self.library
        match plain:
            case None:
                return library[b"null"]
            case bool() | int() | float():
                return plain
            case str():
                return plain.encode("utf-8", "surrogateescape")
            case bytes():
                return library[b"bytes"](plain)
            case list():
                return library[b"List"][b"new"](self.runtime.table(*map(self.value, plain)), len(plain))
            case dict():
                found = library[b"Map"][b"new"]()
                for key, item in plain.items():
                    library[b"Map"][b"set"](found, self.value(key), self.value(item))
                return found
            case datetime():
                since = plain - _EPOCH
                return library[b"timestamp"](since.days * 86400 + since.seconds, since.microseconds * 1000)
            case timedelta():
                micros = plain // timedelta(microseconds=1)
                sign = -1 if micros < 0 else 1
                return library[b"duration"](sign * (abs(micros) // 1_000_000), sign * (abs(micros) % 1_000_000 * 1000))
        raise TypeError(f"{type(plain).__name__} is no value of expressions")

    def plain(self, value: Any) -> Any:
        """A value of Lua as a plain one; a type becomes its name."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogateescape")
        match self.library[b"kind"](value):
            case b"null_type":
                return None
            case b"bytes":
                return value[b"bytes"]
            case b"list":
                return [self.plain(value[at]) for at in range(1, value[b"n"] + 1)]
            case b"map":
                keys = (value[b"keys"][at] for at in range(1, len(value[b"keys"]) + 1))
                return {self.plain(key): self.plain(value[b"values"][key]) for key in keys}
            case b"google.protobuf.Timestamp":
                return _EPOCH + timedelta(seconds=value[b"seconds"], microseconds=value[b"nanos"] // 1000)
            case b"google.protobuf.Duration":
                return timedelta(seconds=value[b"seconds"]) + timedelta(microseconds=value[b"nanos"] / 1000)
            case b"type":
                return value[b"name"].decode()
        raise TypeError("this is no value of expressions")


@cache
def lua() -> Lua:
    """One for all tests of a process: values do not outlive an evaluation."""
    return Lua()
