"""Cloud endpoints: what answers by its traffic policy alone, whether an agent is there or not."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cloud_endpoints",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner_id", sa.String(40), nullable=False),
        sa.Column("description", sa.String(255), nullable=False, server_default=sa.text("''")),
        sa.Column("metadata", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("url", sa.String(300), nullable=False),
        sa.Column("traffic_policy", sa.Text(), nullable=False),
        sa.Column("pooling", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cloud_endpoints"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name="fk_cloud_endpoints_owner_id", ondelete="CASCADE"),
    )
    op.create_index("ix_cloud_endpoints_owner_id", "cloud_endpoints", ["owner_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("cloud_endpoints")
