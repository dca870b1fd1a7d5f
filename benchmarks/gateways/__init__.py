"""Portico's edge as a TLS gateway before a service that it reaches itself: `python -m benchmarks.gateways`."""
