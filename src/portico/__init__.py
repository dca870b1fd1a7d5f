"""Portico: the front door that people own."""

from portico.version import __version__

__all__ = ["__version__"]
