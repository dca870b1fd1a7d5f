"""How every process of Portico logs: stdlib `logging` at the call, structured on the way out.

Code logs with `logging.getLogger(__name__)` and puts its facts into `extra`, never into the text:
`log.info("session online", extra={"session": session, "remote": remote})`. Secrets are never facts.
"""

import logging
import sys
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    import structlog

_CHATTY = ("alembic", "asyncio", "grpc", "uvicorn")
"""Libraries whose every step is no news to an operator."""

LogFormat = Literal["term", "logfmt", "json"]


def configure(
    stream: TextIO = sys.stderr, *, level: int = logging.INFO, form: LogFormat = "term", **facts: str
) -> None:
    """Send all log records to `stream` as coloured lines, logfmt or JSON; `facts` go on every line."""
    import structlog

    def add_facts(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**facts, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="t"),
        structlog.processors.format_exc_info if form != "term" else _keep,
        add_facts,
    ]
    renderers: dict[LogFormat, structlog.typing.Processor] = {
        "term": structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="t"),
        "logfmt": structlog.processors.LogfmtRenderer(key_order=["t", "level", "event"], bool_as_flag=False),
        "json": structlog.processors.JSONRenderer(),
    }
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderers[form]],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


def _keep(_: object, __: str, event: "structlog.typing.EventDict") -> "structlog.typing.EventDict":
    return event
