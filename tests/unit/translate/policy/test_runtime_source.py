"""The Lua library as one text: loaded by LuaJIT, and without globals of its own."""

from importlib.resources import files

from lupa.luajit21 import LuaRuntime

from kit.lua import lua
from portico.translate.policy import runtime_source as module
from portico.translate.policy.runtime_source import FILES, runtime_source

GLOBALS = """
local text = ...
local util = require("jit.util")
local function code_of(chunk) return bit.band(util.funcbc(loadstring(chunk), 1), 0xff) end
local GET = code_of("return (x)")
local SET = bit.band(util.funcbc(loadstring("x = 1"), 2), 0xff)
local found = {}
local function search(proto)
  local at = 1
  while true do
    local instruction = util.funcbc(proto, at)
    if not instruction then break end
    local code = bit.band(instruction, 0xff)
    if code == GET or code == SET then
      local name = util.funck(proto, -bit.rshift(instruction, 16) - 1)
      found[(code == SET and "set " or "get ") .. name] = true
    end
    at = at + 1
  end
  local number = -1
  while true do
    local constant = util.funck(proto, number)
    if constant == nil then break end
    if type(constant) == "proto" then search(constant) end
    number = number - 1
  end
end
search(assert(loadstring(text)))
local names = {}
for name in pairs(found) do names[#names + 1] = name end
return table.concat(names, "\\n")
"""
LUA = {
    *("assert", "bit", "error", "getmetatable", "io", "ipairs", "loadstring", "math", "next", "os", "pairs", "pcall"),
    *("require", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack"),
}


def globals_of(text: str) -> set[str]:
    found = LuaRuntime(encoding="latin-1").execute(GLOBALS, text)
    return set(str(found).split("\n"))


def test_globals_are_found() -> None:
    text = "a = 1\nlocal function f() return function() b = c end end"
    assert globals_of(text) == {"set a", "set b", "get c"}


def test_nothing_is_left_in_globals_which_all_policies_share() -> None:
    assert globals_of(runtime_source()) <= {f"get {name}" for name in LUA}


def test_every_file_is_loaded_once() -> None:
    folder = files(module.__package__) / "runtime"
    there = {path.name for path in folder.iterdir() if path.name.endswith(".lua")}
    there |= {f"actions/{path.name}" for path in (folder / "actions").iterdir()}
    assert set(FILES) == there
    assert len(FILES) == len(there)


def test_what_is_learned_is_bounded() -> None:
    library = lua().library
    for number in range(5000):
        assert library[b"learn"](b"number %d" % number, b"{%d}" % number)[1] == number
    known = sum(1 for _ in library[b"known"])
    assert 0 < known <= 4096
