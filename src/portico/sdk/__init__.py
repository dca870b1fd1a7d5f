"""The face of the package: forward, listen, connect and their like."""
