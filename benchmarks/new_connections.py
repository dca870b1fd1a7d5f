"""A connection for each request."""

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.figure import Benchmark, Figure

VISITORS = 16


def measure(bench: Bench) -> list[Figure]:
    """Connections per second, plain and with a TLS handshake."""
    stage = bench.stage
    targets = (
        ("no tunnel, plain", stage.direct.http),
        ("portico http, plain", stage.portico.http),
        ("portico http, TLS", stage.portico.https),
        ("ngrok SDK, plain", stage.ngrok.http),
    )
    rates = [(name, load.requests(f"{url}/", VISITORS, bench.size.seconds, close=True).rate) for name, url in targets]
    return [Figure.of(name, "connections/s", rate) for name, rate in rates]


BENCHMARK = Benchmark(
    name="new-connections",
    title="A connection for each request",
    how=f"{VISITORS} visitors (wrk) open a connection, ask once with `Connection: close`, and open the next. TLS is "
    "1.3 with a full handshake each time and the edge's own certificate (ECDSA P-256).",
    measure=measure,
)
