"""How every process of Portico logs: stdlib `logging` at the call, structured on the way out.

Code logs with `logging.getLogger(__name__)` and puts its facts into `extra`, never into the text:
`log.info("session online", extra={"session": session, "remote": remote})`. Secrets are never facts, and tracebacks show
no values of variables, which may be secrets.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

_CHATTY = ("alembic", "asyncio", "grpc", "uvicorn")
"""Libraries whose every step is no news to an operator."""
_OWN: Final = frozenset(vars(logging.makeLogRecord({})))
"""What every record has; the rest came as `extra`."""
_FIRST: Final = ("t", "level", "event")
_EVENT_WIDTH: Final = 30
_LEVEL_WIDTH: Final = 9
_BOLD, _DIM, _CYAN, _MAGENTA, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[35m", "\x1b[0m"
_COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_OTHER_LEVELS: Final = "\x1b[32m"

LogFormat = Literal["term", "logfmt", "json"]
Facts = Mapping[str, object]


def configure(
    stream: TextIO = sys.stderr, *, level: int = logging.INFO, form: LogFormat = "term", **facts: str
) -> None:
    """Send all log records to `stream` as coloured lines, logfmt or JSON; `facts` go on every line."""
    renderers = {"term": _coloured if stream.isatty() else _plain, "logfmt": _logfmt, "json": _json}
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines(renderers[form], facts))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))


class _Lines(logging.Formatter):
    """One line a record; for people, a traceback has lines of its own."""

    def __init__(self, render: Callable[[Facts], str], facts: Facts) -> None:
        super().__init__()
        self._render = render
        self._facts = facts

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            **self._facts,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
            "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return self._render(facts)


def _json(facts: Facts) -> str:
    import json

    return json.dumps(facts, default=repr)


def _logfmt(facts: Facts) -> str:
    rest = {name: value for name, value in facts.items() if name not in _FIRST}
    return " ".join(
        f"{name}={_quoted(value)}" for name, value in ({name: facts[name] for name in _FIRST} | rest).items()
    )


def _quoted(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    quotes = any(mark in text for mark in ' ="\n\r')
    if quotes:
        text = text.replace("\\", "\\\\")
    text = text.replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"' if quotes else text


def _plain(facts: Facts) -> str:
    return _for_people(facts, lambda text, _: text)


def _coloured(facts: Facts) -> str:
    return _for_people(facts, lambda text, style: f"{style}{text}{_RESET}")


def _for_people(facts: Facts, styled: Callable[[str, str], str]) -> str:
    level = str(facts["level"])
    rest = sorted((name, value) for name, value in facts.items() if name not in (*_FIRST, "exception"))
    line = " ".join(
        [
            styled(str(facts["t"]), _DIM),
            f"[{styled(level.ljust(_LEVEL_WIDTH), _COLOURS.get(level, _OTHER_LEVELS) + _BOLD)}]",
            styled(str(facts["event"]).ljust(_EVENT_WIDTH if rest else 0), _BOLD),
            *(f"{styled(name, _CYAN)}={styled(_shown(value), _MAGENTA)}" for name, value in rest),
        ]
    )
    return f"{line}\n{facts['exception']}" if "exception" in facts else line


def _shown(value: object) -> str:
    bare = isinstance(value, str) and value.isprintable() and not any(mark in value for mark in " ='\"")
    return str(value) if bare else repr(value)
