"""Row 1.24: nodes of an edge that share a store order each certificate once."""

import os
import subprocess
import sys
from pathlib import Path

from kit.pebble import running_names, running_pebble
from kit.ports import free_port

TESTS = Path(__file__).parents[1]


def test_row_1_24_two_nodes_that_share_a_store_order_each_certificate_once(tmp_path: Path) -> None:
    hosts = [f"host{number}.example.org" for number in range(12)]
    with (
        running_names() as names,
        running_pebble(
            tmp_path / "ca",
            names,
            http_port=free_port(),
            tls_port=free_port(),
            environment={"PEBBLE_VA_ALWAYS_VALID": "1"},
        ) as pebble,
    ):
        command = [sys.executable, "-m", "kit.acme_node", str(tmp_path), pebble.url, str(pebble.ca_file), *hosts]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        nodes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            told = [node.communicate(timeout=100) for node in nodes]
        finally:
            for node in nodes:
                node.kill()
                node.wait()
        assert [node.returncode for node in nodes] == [0, 0], told
        assert told[0][0] == told[1][0]
        assert len(told[0][0].splitlines()) == len(hosts)
        assert pebble.orders() == len(hosts)
