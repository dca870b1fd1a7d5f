"""The network between an agent and the edge as a process, whose faults come by standard input.

    python -m kit.soak.hop PORT

prints its own port, then obeys lines: the names of LinkCutter's methods.
"""

import sys

from kit.link_cutter import LinkCutter


def main() -> None:
    """Until standard input ends."""
    cutter = LinkCutter(("127.0.0.1", int(sys.argv[1])))
    print(cutter.port, flush=True)
    verbs = {
        "cut": cutter.cut,
        "freeze": cutter.freeze,
        "freeze_and_cut_agent_side": cutter.freeze_and_cut_agent_side,
        "bury": cutter.bury,
    }
    for line in sys.stdin:
        verbs[line.strip()]()
        print("done", flush=True)


if __name__ == "__main__":
    main()
