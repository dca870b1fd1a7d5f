"""IP policies and their rules, which restrict-ips names."""

import sqlalchemy as sa
from alembic import op

from portico.store.migrations.record import create_record

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    create_record("ip_policies")
    create_record(
        "ip_policy_rules",
        sa.Column("ip_policy_id", sa.String(40), nullable=False),
        sa.Column("cidr", sa.String(50), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.ForeignKeyConstraint(
            ["ip_policy_id"], ["ip_policies.id"], name="fk_ip_policy_rules_ip_policy_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_ip_policy_rules_ip_policy_id", "ip_policy_rules", ["ip_policy_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("ip_policy_rules")
    op.drop_table("ip_policies")
