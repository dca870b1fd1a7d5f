"""Errors as the API tells them: ngrok's body, with all that is wrong in one message."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import JSONResponse

from portico.model.errors import (
    API_BODY_UNREADABLE,
    API_FIELD_INVALID,
    API_FIELD_UNKNOWN,
    API_LIMIT_INVALID,
    DATABASE_UNUSABLE,
    PorticoError,
)
from portico.model.pages import code_headers

log = logging.getLogger(__name__)

_UNREADABLE: Final = ("json_invalid", "model_attributes_type", "model_type", "dict_type")


class ProblemDetails(BaseModel):
    """Where to look further; all values are text, for ngrok's Go client takes nothing else."""

    operation_id: str
    portico_code: str
    fix: str
    problems: str
    """Everything that is wrong with a traffic policy, a line each: `line:column: place: what`; else empty."""


class Problem(BaseModel):
    """The body of an error."""

    error_code: str
    status_code: int
    msg: str
    details: ProblemDetails


def problem_response(error: PorticoError, operation_id: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that says what is wrong."""
    if error.code is DATABASE_UNUSABLE:
        error = _without_place(error, operation_id)
    code = error.code
    status = code.status or 400
    problem = Problem(
        error_code=code.ngrok or str(code),
        status_code=status,
        msg=error.message,
        details=ProblemDetails(
            operation_id=operation_id, portico_code=str(code), fix=error.fix, problems="\n".join(error.problems)
        ),
    )
    return JSONResponse(problem.model_dump(), status, {**dict(code_headers(code)), **(headers or {})})


def _without_place(error: PorticoError, operation_id: str) -> PorticoError:
    """Where the database is, is the operator's to know: the log has it."""
    log.error("the API needs the database", extra={"operation": operation_id, "reason": error.message})
    return PorticoError(
        error.code, "the edge cannot use its database now", fix="Try again in a moment; the edge's log has the reason."
    )


def invalid(errors: Sequence[Mapping[str, Any]]) -> PorticoError:
    """One error of all that pydantic found. What the caller sent is never repeated, for it may be secret."""
    kinds = {error["type"] for error in errors}
    if kinds & set(_UNREADABLE) and all(len(error["loc"]) <= 2 for error in errors if error["type"] in _UNREADABLE):
        return PorticoError(API_BODY_UNREADABLE, "the body is no JSON object")
    code = API_FIELD_INVALID
    if kinds == {"extra_forbidden"}:
        code = API_FIELD_UNKNOWN
    elif all(tuple(error["loc"]) == ("query", "limit") for error in errors):
        code = API_LIMIT_INVALID
    return PorticoError(code, "\n".join(_lines(errors)))


def _lines(errors: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for error in errors:
        place = ".".join(str(part) for part in error["loc"][1:]) or "the body"
        yield f"{place}: {_finding(error)}"


def _finding(error: Mapping[str, Any]) -> str:
    match error:
        case {"type": "extra_forbidden"}:
            return "this field is unknown"
        case {"type": "too_long", "ctx": {"field_type": "Value", "max_length": most}}:
            return f"string should have at most {most} characters"  # pydantic says "items" behind a validator
        case {"type": "too_short", "ctx": {"field_type": "Value", "min_length": least}}:
            return f"string should have at least {least} character{'' if least == 1 else 's'}"
    return _sentence(error["msg"])


def _sentence(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
