"""The SSH door: `ssh -R` of stock clients becomes addresses, as agents' sessions do in `relay`."""
