"""`python -m benchmarks.peers [--quick] [--only WORK] [--contender NAME] [--write]`: tunnels beside each other.

A whole full run writes the results, their charts, and the page; it takes about 25 minutes, and minutes more where the
peers are built first.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import comparison, machine, page
from benchmarks.comparison import Record
from benchmarks.peers.build import PEERS, programs
from benchmarks.peers.contenders import CONTENDERS, LEADS, NO_TUNNEL
from benchmarks.peers.run import NAMES, WORKS, run
from benchmarks.peers.stage import Ground
from benchmarks.peers.unit import FULL, QUICK

_PROGRAMS = ("wrk", "curl", "nginx", "setpriv")
_OPEN_FILES = 16_384


def main() -> int:
    """The exit status: 1 where ours failed, or a work as a whole; a peer's failure is a result."""
    options = _options()
    if missing := [
        program
        for program in _PROGRAMS
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None
    ]:
        print(f"missing: {', '.join(missing)}; tests/kit/install-parts installs them", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started ends
    at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, at_most), at_most))
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
    if options.write or (size is FULL and not options.only and not options.contender):
        page.write_comparison(page.PEERS, found)
    print(comparison.text(found), flush=True)
    ours = {each.named.name for each in chosen if each.named.role == "ours"}
    wrong = ours.union(NAMES).intersection([*absent, *(name for _, name in record.failed)])
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, one round, minutes")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="WORK", help=f"one of {', '.join(NAMES)}")
    known = [each.named.name for each in CONTENDERS]
    parser.add_argument(
        "--contender", action="append", choices=known, metavar="NAME", help=f"one of {', '.join(known)}"
    )
    parser.add_argument("--write", action="store_true", help="write results, charts and page of such a run, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
