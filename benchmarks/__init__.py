"""What Portico costs and how fast it is, measured on real processes over loopback: `python -m benchmarks`.

`suite.py` lists the benchmarks of the whole; `tunnel_core`, `relay`, `envoy_cost` and `xds_scale` measure one part each
and run alone (`python -m benchmarks.relay`). `peers` (tunnels) and `gateways` measure others beside us
(`comparison.py`).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the kit
