"""Where the configuration file is when nobody says."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from portico.model.errors import CONFIG_MISSING, PorticoError

FILE_NAME: Final = "portico.yml"


def default_path(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The platform's own place for it. Raises PorticoError(CONFIG_MISSING) for a user without a home."""
    environ = os.environ if environ is None else environ
    return config_folder(environ, platform) / "portico" / FILE_NAME


def config_folder(environ: Mapping[str, str], platform: str) -> Path:
    """Where this user's programs keep their settings. Raises PorticoError(CONFIG_MISSING) where there is no home."""
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        return Path(local) if local else _home() / "AppData" / "Local"
    if platform == "darwin":
        return _home() / "Library" / "Application Support"
    # XDG Base Directory: a path that is not absolute is to be ignored.
    chosen = environ.get("XDG_CONFIG_HOME", "")
    return Path(chosen) if Path(chosen).is_absolute() else _home() / ".config"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise PorticoError(
            CONFIG_MISSING, "this user has no home directory", fix="Name the file with --config."
        ) from None
