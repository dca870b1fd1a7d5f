"""Run by Alembic for each command. The connection, and with it the transaction, is the caller's."""

from alembic import context

from portico.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
