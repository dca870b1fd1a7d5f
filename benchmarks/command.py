"""What the commands of both comparisons share: their options, and what a run needs of the machine."""

import argparse
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence

_OPEN_FILES = 16_384


def options(parser: argparse.ArgumentParser, works: Sequence[str], contenders: Sequence[str]) -> argparse.Namespace:
    """`quick`, `only`, `contender` and `write`, as they were typed."""
    parser.add_argument("--quick", action="store_true", help="smaller numbers, one round, minutes")
    parser.add_argument("--only", action="append", choices=works, metavar="WORK", help=f"one of {', '.join(works)}")
    parser.add_argument(
        "--contender", action="append", choices=contenders, metavar="NAME", help=f"one of {', '.join(contenders)}"
    )
    parser.add_argument("--write", action="store_true", help="write results, charts and page of such a run, too")
    return parser.parse_args()


def is_whole(chosen: argparse.Namespace) -> bool:
    """Whether it is a full run of everything, whose results are written."""
    return not (chosen.quick or chosen.only or chosen.contender)


def ready(programs: Iterable[str]) -> bool:
    """Prepare this process for a run; False, and said why, where a program is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    if missing := [program for program in programs if shutil.which(program, path=path) is None]:
        print(f"missing: {', '.join(missing)}; tests/kit/install-parts installs them", file=sys.stderr)
        return False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started ends
    at_most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, at_most), at_most))
    return True
