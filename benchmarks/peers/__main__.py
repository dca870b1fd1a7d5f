"""`python -m benchmarks.peers [--quick] [--only WORK] [--contender NAME] [--write]`: tunnels beside each other.

A whole full run writes the results, their charts, and the page; it takes about 25 minutes, and minutes more where the
peers are built first.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import command, comparison, machine, page
from benchmarks.comparison import Record
from benchmarks.peers.build import PEERS, programs
from benchmarks.peers.contenders import CONTENDERS, LEADS, NO_TUNNEL
from benchmarks.peers.run import NAMES, WORKS, run
from benchmarks.peers.stage import Ground
from benchmarks.peers.unit import FULL, QUICK

_PROGRAMS = ("wrk", "curl", "nginx", "setpriv")


def main() -> int:
    """The exit status: 1 where ours failed, or a work as a whole; a peer's failure is a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    options = command.options(parser, NAMES, [each.named.name for each in CONTENDERS])
    if not command.ready(_PROGRAMS):
        return 1
    size = QUICK if options.quick else FULL
    chosen = [each for each in CONTENDERS if not options.contender or each.named.name in options.contender]
    built = programs({name: PEERS[name] for name in PEERS if name in {each.needs for each in chosen}})
    contenders = [each for each in chosen if each.needs not in built.missing]
    facts, began, record = machine.facts(), time.monotonic(), Record()
    with tempfile.TemporaryDirectory(prefix="portico-peers-") as made:
        absent = run(Ground(Path(made), built), contenders, size, options.only or NAMES, record)
    about = {
        "mode": "quick" if options.quick else "full",
        "rounds": size.rounds,
        "machine": facts,
        "versions": {name: facts[name] for name in ("Envoy", "ngrok SDK")} | built.versions,
        "missing": {**built.missing, **absent},
    }
    named = (NO_TUNNEL, *(each.named for each in contenders))
    found = comparison.results(record, WORKS, named, LEADS, about, began)
    if options.write or command.is_whole(options):
        page.write_comparison(page.PEERS, found)
    print(comparison.text(found), flush=True)
    ours = {each.named.name for each in chosen if each.named.role == "ours"}
    wrong = ours.union(NAMES).intersection([*absent, *(name for _, name in record.failed)])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
