"""What the REST API keeps: notes, ACLs, SSH keys, ports, certificates, an audit log, answers to repeated creates."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _record("ssh_credentials", sa.Column("public_key", sa.Text(), nullable=False), _fingerprint(), _acl())
    _record(
        "tls_certificates",
        sa.Column("certificate_pem", sa.Text(), nullable=False),
        sa.Column("private_key_pem", sa.Text(), nullable=False),
    )
    _record("certificate_authorities", sa.Column("ca_pem", sa.Text(), nullable=False))
    _record("reserved_addrs", sa.Column("port", sa.Integer(), nullable=False))
    for table, column in (("ssh_credentials", "fingerprint"), ("reserved_addrs", "port")):
        with op.batch_alter_table(table) as batch:
            batch.create_unique_constraint(f"uq_{table}_{column}", [column])
    _extend_owned_tables()
    _audit_events()
    _idempotency_keys()


def downgrade() -> None:
    """Take back."""
    for table in ("idempotency_keys", "audit_events"):
        op.drop_table(table)
    with op.batch_alter_table("domains") as batch:
        batch.drop_constraint("fk_domains_certificate_id", type_="foreignkey")
        for column in ("certificate_id", "metadata", "description"):
            batch.drop_column(column)
    with op.batch_alter_table("authtokens") as batch:
        batch.drop_column("acl")
    for table in ("authtokens", "api_keys"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("description", existing_type=sa.String(255), server_default=None)
            batch.drop_column("metadata")
    for table in ("reserved_addrs", "certificate_authorities", "tls_certificates", "ssh_credentials"):
        op.drop_table(table)


def _record(table: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner_id", sa.String(40), nullable=False),
        _description(),
        _metadata(),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=f"fk_{table}_owner_id", ondelete="CASCADE"),
    )
    op.create_index(f"ix_{table}_owner_id", table, ["owner_id"])


def _extend_owned_tables() -> None:
    for table in ("authtokens", "api_keys"):
        with op.batch_alter_table(table) as batch:
            batch.alter_column("description", existing_type=sa.String(255), server_default=sa.text("''"))
            batch.add_column(_metadata())
    with op.batch_alter_table("authtokens") as batch:
        batch.add_column(_acl())
    with op.batch_alter_table("domains") as batch:
        batch.add_column(_description())
        batch.add_column(_metadata())
        batch.add_column(sa.Column("certificate_id", sa.String(40)))
        batch.create_foreign_key("fk_domains_certificate_id", "tls_certificates", ["certificate_id"], ["id"])


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.String(40), nullable=False) for name in ("owner_id", "api_key_id", "operation_id")),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("resource", sa.String(40), nullable=False),
        sa.Column("resource_id", sa.String(80), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("api_key_id", sa.String(40), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("request", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "digest", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name="fk_idempotency_keys_api_key_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _description() -> sa.Column[object]:
    return sa.Column("description", sa.String(255), nullable=False, server_default=sa.text("''"))


def _metadata() -> sa.Column[object]:
    return sa.Column("metadata", sa.Text(), nullable=False, server_default=sa.text("''"))


def _acl() -> sa.Column[object]:
    return sa.Column("acl", sa.JSON(), nullable=False, server_default=sa.text("'[]'"))


def _fingerprint() -> sa.Column[object]:
    return sa.Column("fingerprint", sa.String(60), nullable=False)
