"""Every variable that a checked policy may read is one that the runtime knows."""

from kit.lua import lua
from portico.policy.variables import RETRY, variables


def test_the_runtime_has_each_variable_that_is_offered() -> None:
    known = {name.decode() for name in lua().library[b"var"]}
    offered = {name for name, variable in variables().items() if not variable.missing} - {one.name for one in RETRY}
    assert offered <= known
    assert known <= set(variables())
