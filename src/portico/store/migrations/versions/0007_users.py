"""Users: who of an owner's people made what, and what each may do."""

import sqlalchemy as sa
from alembic import op

from portico.store.migrations.record import create_record

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MADE_BY_USERS = (
    "authtokens",
    "api_keys",
    "ssh_credentials",
    "tls_certificates",
    "certificate_authorities",
    "domains",
    "reserved_addrs",
    "cloud_endpoints",
    "ip_policies",
    "ip_policy_rules",
    "vaults",
    "secrets",
)


def upgrade() -> None:
    """Apply."""
    create_record(
        "users",
        sa.Column("user_id", sa.String(40)),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.UniqueConstraint("owner_id", "email", name="uq_users_owner_id"),
    )
    for table in (*_MADE_BY_USERS, "audit_events"):
        op.add_column(table, sa.Column("user_id", sa.String(40)))


def downgrade() -> None:
    """Take back."""
    for table in (*_MADE_BY_USERS, "audit_events"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("user_id")
    op.drop_table("users")
