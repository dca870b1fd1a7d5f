"""Brings the schema up to date at every start."""

import logging
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from portico.model.errors import STORE_UNUSABLE, PorticoError

log = logging.getLogger(__name__)

HEAD: Final = "0008"
"""The newest migration; a store that is there already needs no Alembic, which takes a while to import."""
MIGRATES: Final = "portico_migrates"
"""Execution option of a transaction that may take, and wait, long."""
SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(reader: Engine, writer: Engine, name: str) -> None:
    """Run the missing migrations in one transaction, which those of other nodes wait for.

    Raises PorticoError(STORE_UNUSABLE) where the schema is newer.
    """
    if current_revision(reader) == HEAD:
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells each step as news
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with writer.execution_options(**{MIGRATES: True}).begin() as connection:
        current = _revision(connection)
        if current is not None and current not in known:
            raise PorticoError(
                STORE_UNUSABLE,
                f"{name} was written by a newer version of Portico (its schema is {current}, ours is {HEAD})",
                fix="Run the newer version, or restore the backup that was made before the upgrade.",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    log.info("brought the store's schema up to date", extra={"from": current or "nothing", "to": HEAD})


def current_revision(engine: Engine) -> str | None:
    """The migration that the store is at; None for an empty one."""
    with engine.connect() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision
