"""Automatic certificates: accounts, certificates with their orders and leases, challenges under way."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "acme_accounts",
        sa.Column("directory", sa.String(255), nullable=False),
        sa.Column("key_id", sa.String(255), nullable=False),
        sa.Column("uri", sa.String(500), nullable=False),
        sa.Column("private_key_pem", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("directory", name="pk_acme_accounts"),
    )
    op.create_table(
        "acme_certificates",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("certificate_pem", sa.Text()),
        sa.Column("private_key_pem", sa.Text()),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("not_after", sa.DateTime(timezone=True)),
        sa.Column("directory", sa.String(255), nullable=False),
        sa.Column("renew_at", sa.DateTime(timezone=True)),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(500), nullable=False),
        sa.Column("next_attempt", sa.DateTime(timezone=True)),
        sa.Column("lease_holder", sa.String(40)),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("name", name="pk_acme_certificates"),
    )
    op.create_table(
        "acme_challenges",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("token", sa.String(255), nullable=False),
        sa.Column("answer", sa.String(500), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "host", "token", name="pk_acme_challenges"),
    )


def downgrade() -> None:
    """Take back."""
    for table in ("acme_challenges", "acme_certificates", "acme_accounts"):
        op.drop_table(table)
