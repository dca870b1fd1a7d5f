"""Ports that tests are given collide neither with connections nor with those of tests beside them."""

import socket
import subprocess
import sys
from pathlib import Path

from kit.ports import free_port, free_port_range, free_ports

TESTS = Path(__file__).parents[2]
OTHER = "from kit.ports import free_ports; print(*free_ports(200)); input()"


def test_the_system_gives_them_to_nobody() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        assert all(1023 < port < lowest for port in free_ports(50))


def test_no_two_processes_have_the_same_though_nobody_listens() -> None:
    command = [sys.executable, "-c", OTHER]
    others = [
        subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    given = [free_ports(200)]
    for process in others:
        assert process.stdout
        given.append([int(port) for port in process.stdout.readline().split()])
    for process in others:
        process.communicate("\n")
        assert process.returncode == 0
    ports = [port for each in given for port in each]
    assert len(ports) == len(set(ports)) == 800


def test_neighbours_leave_out_what_is_taken() -> None:
    first, last = free_port_range(3)
    assert last == first + 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert taken.getsockname()[1] not in free_ports(20)
    assert free_port() not in range(first, last + 1)
