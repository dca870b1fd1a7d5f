"""Headers, cookies and query parameters of the visit, and the secrets of its owner."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from portico.policy import phases
from portico.policy.functions.deciding import decides
from portico.policy.functions.function import Function
from portico.policy.phases import Phase

Values = dict[str, Any]
_CURRENT: Final[ContextVar[Values]] = ContextVar("values of the visit")
HIDDEN: Final = "••••••"
"""What stands for a secret in everything that is shown."""


@contextmanager
def visit(values: Values) -> Iterator[None]:
    """While it lasts, the functions below answer from `values`, the variables by name."""
    token = _CURRENT.set(values)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _known(name: str) -> dict[str, list[Any]]:
    found = _CURRENT.get({}).get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not known here")  # noqa: TRY004  (what expressions report)
    return found


def _values(of: str) -> Callable[[str], list[Any]]:
    return lambda name: _known(of).get(name.lower(), [])


def _present(of: str) -> Callable[[str], bool]:
    return lambda name: name.lower() in _known(of)


def _parameters(name: str) -> list[Any]:
    return _known("req.url.query_params").get(name, [])


def _has_parameter(name: str) -> bool:
    return name in _known("req.url.query_params")


def _cookie(of: str) -> Callable[[str], Any]:
    def first(name: str) -> Any:
        found = _known(of).get(name)
        if not found:
            raise ValueError("there is no such cookie")
        return found[0]

    return first


def _has_cookie(of: str) -> Callable[[str], bool]:
    return lambda name: name in _known(of)


def _secret(vault: str, name: str) -> str:
    if decides():  # control has filled in those that are there
        raise ValueError(f"there is no secret {vault}/{name}")
    return HIDDEN


def _of(side: str, message: str, known: tuple[Phase, ...]) -> Iterator[Function]:
    headers, cookies = f"{message}.headers", f"{message}.cookies"
    said = "request" if message == "req" else "response"
    cookie = "map<string, dyn>"
    rows: list[tuple[str, str, Callable[..., Any], str]] = [
        (f"get{side}Header", "list<string>", _values(headers), f"the values of a header of the {said}"),
        (f"has{side}Header", "bool", _present(headers), f"whether the {said} has a header"),
        (f"get{side}Cookie", cookie, _cookie(cookies), f"the first cookie of that name of the {said}"),
        (f"has{side}Cookie", "bool", _has_cookie(cookies), f"whether the {said} has a cookie"),
    ]
    for name, result, compute, meaning in rows:
        yield Function(name, ("string",), result, compute, meaning, phases=known, steady=False)


FUNCTIONS: Final = (
    *_of("Req", "req", phases.HTTP),
    *_of("Res", "res", (Phase.HTTP_RESPONSE,)),
    Function(
        "getQueryParam",
        ("string",),
        "list<string>",
        _parameters,
        "the values of a query parameter",
        phases=phases.HTTP,
        steady=False,
    ),
    Function(
        "hasQueryParam",
        ("string",),
        "bool",
        _has_parameter,
        "whether there is a query parameter",
        phases=phases.HTTP,
        steady=False,
    ),
    Function("secrets.get", ("string", "string"), "string", _secret, "a secret of a vault", steady=False),
)
