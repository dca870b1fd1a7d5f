"""`python -m benchmarks.gateways [--quick] [--only WORK] [--contender NAME] [--write]`: the edge as TLS gateway.

A whole full run writes the results, their charts, and the page; it takes about twelve minutes, and minutes more where
the others are built first.
"""

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import comparison, machine, page
from benchmarks.comparison import Lead, Record
from benchmarks.gateways.build import PEERS
from benchmarks.gateways.gateway import WORKERS, Gateway
from benchmarks.gateways.portico import Portico
from benchmarks.gateways.proxies import Caddy, Envoy, Haproxy, Nginx, Traefik
from benchmarks.gateways.run import FULL, QUICK, run, stage
from benchmarks.gateways.works import WORKS
from benchmarks.peers.build import programs

_PROGRAMS: Final = ("wrk", "h2load", "curl", "setpriv")
_OPEN_FILES: Final = 16_384
CONTENDERS: Final[tuple[Gateway, ...]] = (Portico(), Envoy(), Nginx(), Haproxy(), Caddy(), Traefik())
LEADS: Final = (
    Lead("Portico : plain Envoy", "Portico", ("plain Envoy",)),
    Lead("Portico : nginx, HAProxy", "Portico", ("nginx", "HAProxy")),
    Lead("Portico : Caddy, Traefik", "Portico", ("Caddy", "Traefik")),
)


def main() -> int:
    """The exit status: 1 where something failed, with the rest done."""
    options = _options()
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        print(f"missing: {', '.join(missing)}; tests/kit/install-parts installs them", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started ends
    at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, at_most), at_most))
    size = QUICK if options.quick else FULL
    chosen = [each for each in CONTENDERS if not options.contender or each.named.name in options.contender]
    built = programs({name: PEERS[name] for name in PEERS if name in {each.needs for each in chosen}})
    facts, began, record = machine.facts(), time.monotonic(), Record()
    with (
        tempfile.TemporaryDirectory(prefix="portico-gateways-") as made,
        stage(Path(made), built, [each for each in chosen if each.needs not in built.missing]) as (running, absent),
    ):
        run(record, running, options.only or [work.name for work in WORKS], size)
    about = {
        "mode": "quick" if options.quick else "full",
        "rounds": size.rounds,
        "machine": {**facts, "workers of each gateway": str(WORKERS)},
        "versions": {"Envoy": facts["Envoy"], **built.versions},
        "missing": {**built.missing, **absent},
    }
    present = {each.name for each in running}
    named = [each.named for each in chosen if each.named.name in present]
    found = comparison.results(record, WORKS, named, LEADS, about, began)
    if options.write or (size is FULL and not options.only and not options.contender):
        page.write_comparison(page.GATEWAYS, found)
    print(comparison.text(found), flush=True)
    return 1 if record.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateways", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, under two minutes")
    names = [work.name for work in WORKS]
    parser.add_argument("--only", action="append", choices=names, metavar="WORK", help=f"one of {', '.join(names)}")
    known = [each.named.name for each in CONTENDERS]
    parser.add_argument(
        "--contender", action="append", choices=known, metavar="NAME", help=f"one of {', '.join(known)}"
    )
    parser.add_argument("--write", action="store_true", help="write results, charts and page of such a run, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
