"""One function of expressions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portico.policy import phases
from portico.policy.phases import Phase


@dataclass(frozen=True, slots=True)
class Function:
    """One overload. `compute` gets plain values and raises ValueError for what it cannot compute."""

    name: str
    """Such as `hash.md5`, or `md5` for a method."""
    parameters: tuple[str, ...]
    """Types in CEL's words; of a method the first one is what it is called on."""
    result: str
    compute: Callable[..., Any]
    meaning: str
    method: bool = False
    phases: tuple[Phase, ...] = phases.ALL
    steady: bool = True
    """Whether equal arguments always give an equal result."""

    @property
    def signature(self) -> str:
        """`hash.md5(string) -> string`."""
        if self.method:
            return f"{self.parameters[0]}.{self.name}({', '.join(self.parameters[1:])}) -> {self.result}"
        return f"{self.name}({', '.join(self.parameters)}) -> {self.result}"
