"""Run as a script: `launch.py PARENT PROGRAM [ARGUMENT...]` becomes PROGRAM, which the kernel ends with its parent.

A function that runs in the child between fork and exec would need no second interpreter, but a fork of a process that
has threads (gRPC has) may crash in it. This file is started by its path and imports next to nothing, which takes 12 ms.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def prefix() -> list[str]:
    """What to put before a command so that it ends with this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid())]


def main(parent: int, command: list[str]) -> None:
    """Ask for the signal and become the program."""
    # Until it has a handler for it, "read the settings anew" would end it; what is ignored stays so (execve(2)).
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call above
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
