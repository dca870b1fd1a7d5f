"""Other tunnels and ours on the same work, in one run, in turn: `python -m benchmarks.peers`."""
