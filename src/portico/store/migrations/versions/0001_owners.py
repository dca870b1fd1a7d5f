"""Owners with their authtokens, API keys and domains; signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "owners",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("max_sessions", sa.Integer()),
        sa.Column("max_endpoints", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owners"),
        sa.UniqueConstraint("name", name="uq_owners_name"),
    )
    for table in ("authtokens", "api_keys"):
        op.create_table(
            table,
            sa.Column("id", sa.String(40), nullable=False),
            sa.Column("owner_id", sa.String(40), nullable=False),
            sa.Column("digest", sa.LargeBinary(32), nullable=False),
            sa.Column("prefix", sa.String(8), nullable=False),
            sa.Column("description", sa.String(255), nullable=False),
            sa.Column("source", sa.String(20), nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
            sa.UniqueConstraint("digest", name=f"uq_{table}_digest"),
            sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=f"fk_{table}_owner_id", ondelete="CASCADE"),
        )
        op.create_index(f"ix_{table}_owner_id", table, ["owner_id"])
    op.create_table(
        "domains",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_domains"),
        sa.UniqueConstraint("name", name="uq_domains_name"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name="fk_domains_owner_id", ondelete="CASCADE"),
    )
    op.create_index("ix_domains_owner_id", "domains", ["owner_id"])
    op.create_table(
        "signing_keys",
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("purpose", name="pk_signing_keys"),
    )


def downgrade() -> None:
    """Take back."""
    for table in ("signing_keys", "domains", "api_keys", "authtokens", "owners"):
        op.drop_table(table)
