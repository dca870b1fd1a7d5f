"""What an edge says in an `Error` field becomes a PorticoError again."""

import re
from typing import Final

from portico.model.errors import BIND_REJECTED, ErrorCode, PorticoError, all_codes

_CODE: Final = re.compile(r"(?:ERR_NGROK|PORTICO)_(\d{1,9})")


def edge_error(text: str, fallback: ErrorCode = BIND_REJECTED) -> PorticoError:
    """The error that `text` tells: a message, perhaps what to do, and a line that starts with the code.

    `fallback` is the code for what has none, or one that is not known here.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    number = next((int(found[1]) for line in lines if (found := _CODE.match(line))), None)
    words = [line for line in lines if not _CODE.match(line)]
    code = next((known for known in all_codes() if known.number == number), fallback)
    message = words[0] if words else code.title
    return PorticoError(code, message, fix=" ".join(words[1:]) or None)
