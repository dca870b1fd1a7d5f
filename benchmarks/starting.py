"""How long a person waits: for `import portico`, and for `portico http` to be answered."""

import subprocess
import sys
import time

from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure
from benchmarks.stage import DOMAIN, http_agent
from benchmarks.visit import Visit

_IMPORT = "import time; t = time.perf_counter(); import portico; print(time.perf_counter() - t)"


def measure(bench: Bench) -> list[Figure]:
    """Both, several times in one run."""
    stage = bench.stage
    visit = Visit(stage.edge.ca)
    imports, starts = [], []
    for number in range(bench.size.attempts):
        done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
        imports.append(1e3 * float(done.stdout))
        host = f"start-{number}.{DOMAIN}"
        began = time.perf_counter()
        with http_agent(stage.edge, f"https://{host}", stage.service.port):
            starts.append(visit.until_ok(f"https://{host}:{stage.edge.https_port}") - began)
    return [
        Figure("import portico", "ms", tuple(imports)),
        Figure("portico http to the first 200", "s", tuple(starts)),
    ]


BENCHMARK = Benchmark(
    name="starting",
    title="Starting",
    how="The import is timed inside of a fresh interpreter. `portico http` is timed from the start of its process "
    "(Python's own start included) to the end of the first 200 that a visitor gets over TLS, who asks every few "
    "milliseconds.",
    measure=measure,
    runs=1,
)
