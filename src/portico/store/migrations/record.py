"""What the tables of owners' things have in common, for migrations that make one."""

import sqlalchemy as sa
from alembic import op


def create_record(table: str, *columns: "sa.Column[object] | sa.Constraint") -> None:
    """A table with the columns that every record has, and `columns`."""
    op.create_table(
        table,
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner_id", sa.String(40), nullable=False),
        sa.Column("description", sa.String(255), nullable=False, server_default=sa.text("''")),
        sa.Column("metadata", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=f"fk_{table}_owner_id", ondelete="CASCADE"),
    )
    op.create_index(f"ix_{table}_owner_id", table, ["owner_id"])
