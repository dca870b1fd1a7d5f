"""`python -m benchmarks.gateways [--quick] [--only WORK] [--contender NAME] [--write]`: the edge as TLS gateway.

A whole full run writes the results, their charts, and the page; it takes about twelve minutes, and minutes more where
the others are built first.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import command, comparison, machine, page
from benchmarks.comparison import Lead, Record
from benchmarks.gateways.build import PEERS
from benchmarks.gateways.gateway import WORKERS, Gateway
from benchmarks.gateways.portico import Portico
from benchmarks.gateways.proxies import Caddy, Envoy, Haproxy, Nginx, Traefik
from benchmarks.gateways.run import FULL, QUICK, run, stage
from benchmarks.gateways.works import WORKS
from benchmarks.peers.build import programs

_PROGRAMS: Final = ("wrk", "h2load", "curl", "setpriv")
CONTENDERS: Final[tuple[Gateway, ...]] = (Portico(), Envoy(), Nginx(), Haproxy(), Caddy(), Traefik())
LEADS: Final = (
    Lead("Portico : plain Envoy", "Portico", ("plain Envoy",)),
    Lead("Portico : nginx, HAProxy", "Portico", ("nginx", "HAProxy")),
    Lead("Portico : Caddy, Traefik", "Portico", ("Caddy", "Traefik")),
)


def main() -> int:
    """The exit status: 1 where something failed, with the rest done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateways", description=__doc__)
    options = command.options(parser, [work.name for work in WORKS], [each.named.name for each in CONTENDERS])
    if not command.ready(_PROGRAMS):
        return 1
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
    if options.write or command.is_whole(options):
        page.write_comparison(page.GATEWAYS, found)
    print(comparison.text(found), flush=True)
    return 1 if record.failed else 0


if __name__ == "__main__":
    sys.exit(main())
