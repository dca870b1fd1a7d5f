import asyncio
import subprocess
import sys

import pytest

from portico import event_loop

BUFFERS_COME_AND_GO = """
import resource
from portico.event_loop import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        del [bytes(200_000) for _ in range(8)][:]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""


def test_runs_a_coroutine_to_its_result() -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "done"

    assert event_loop.run(main()) == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_buffers_that_come_and_go_cost_no_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", BUFFERS_COME_AND_GO], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400, "each of the 800 buffers has 49 pages"
