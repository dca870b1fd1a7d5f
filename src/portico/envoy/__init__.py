"""Envoy itself: its process, bootstrap, message classes, and the ADS server that feeds it."""
