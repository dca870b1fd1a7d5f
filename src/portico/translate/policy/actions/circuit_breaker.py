"""`circuit-breaker`: each worker counts the answers of its own requests, in the runtime."""

from collections.abc import Mapping
from typing import Final

from portico.policy.actions.circuit_breaker import CircuitBreaker
from portico.translate.policy.actions.compiled import Compiled, Compiler


def _circuit_breaker(config: CircuitBreaker) -> Compiled:
    return Compiled(
        {
            "share": config.error_threshold,
            "volume": config.volume_threshold,
            "window": config.window_duration.total_seconds(),
            "tripped": config.tripped_duration.total_seconds(),
            "enforce": config.enforce,
        }
    )


COMPILERS: Final[Mapping[str, Compiler]] = {CircuitBreaker.TYPE: _circuit_breaker}
