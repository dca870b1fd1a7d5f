"""Windows of rate limits that nodes count together."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rate_windows",
        sa.Column("limit_id", sa.LargeBinary(16), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("limit_id", "key_digest", name="pk_rate_windows"),
        # Room for the next version of each row in its page: a count then touches no index (HOT).
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_rate_windows_ends_at", "rate_windows", ["ends_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("rate_windows")
