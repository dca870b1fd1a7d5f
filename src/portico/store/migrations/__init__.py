"""Migrations: one file in `versions/` for each change of the tables, numbered; `migrate.HEAD` names the newest."""
