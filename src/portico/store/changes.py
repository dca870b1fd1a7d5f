"""What nodes that share a store tell each other: which record has changed. What it says now, the store knows."""

import json
from dataclasses import dataclass
from typing import Final

CHANNEL: Final = "portico"
SETTINGS_APPLIED: Final = "owners"
"""The resource of a change by which a settings file said something else of owners than before."""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A record was made, changed or removed. Nothing in it is secret, for whoever may connect may listen."""

    resource: str
    """As the API calls its kind."""
    id: str
    owner_id: str


def pack(sender: str, change: RecordChange) -> str:
    """The payload of a notification."""
    return json.dumps([sender, change.resource, change.id, change.owner_id], separators=(",", ":"))


def unpack(payload: str) -> tuple[str, RecordChange] | None:
    """Sender and change; None where it is none of ours: whoever may connect may notify, too."""
    try:
        parts = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(parts, list) or len(parts) != 4 or not all(isinstance(part, str) for part in parts):
        return None
    sender, resource, ident, owner_id = parts
    return sender, RecordChange(resource, ident, owner_id)
