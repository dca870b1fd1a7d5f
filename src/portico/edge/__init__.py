"""Composition of an edge node: supervisor, control, registry, settings."""
