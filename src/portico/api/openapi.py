"""The OpenAPI document, as `docs/reference/openapi.json` has it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from portico.api.app import documented_app
from portico.api.ports import Node
from portico.store.store import Store


def document() -> dict[str, Any]:
    """The document as the running API has it too."""
    with TemporaryDirectory() as directory:
        store = Store.open(Path(directory))
        try:
            # Routes ask their node for something when they are called, and not before.
            return documented_app(store, cast("Node", None)).openapi()
        finally:
            store.close()


def text() -> str:
    """The document as its file has it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
