"""Vaults and the secrets in them, which policies read by secrets.get."""

import sqlalchemy as sa
from alembic import op

from portico.store.migrations.record import create_record

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    create_record(
        "vaults",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("owner_id", "name", name="uq_vaults_owner_id"),
    )
    create_record(
        "secrets",
        sa.Column("vault_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("vault_id", "name", name="uq_secrets_vault_id"),
        sa.ForeignKeyConstraint(["vault_id"], ["vaults.id"], name="fk_secrets_vault_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("secrets")
    op.drop_table("vaults")
