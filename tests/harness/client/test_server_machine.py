"""Who else computed beside a server of this machine, and what is not said of one elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.client.config import Url, parse_url
from llmbench.harness.client.server_machine import (
    Reading,
    ServerPlace,
    check_server_machine,
    find_server,
    read,
)
from llmbench.harness.machine.state import Processors
from llmbench.harness.result import Validity

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Listens, and computes in a process that it started: as a server whose engine is its child.
SERVER = """
import socket, subprocess, sys
family, host = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, sys.argv[1]
server = socket.socket(family)
if host == "::":
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind((host, 0))
server.listen()
spin = "import time\\nwhile time.process_time() < 0.3: pass\\nprint(flush=True)\\ninput()"
engine = None
print(server.getsockname()[1], flush=True)
for line in sys.stdin:
    engine = subprocess.Popen(
        [sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    engine.stdout.readline()
    print("computed", flush=True)
if engine is not None:
    engine.communicate(b"\\n")
"""


@contextmanager
def server(host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port and host == "::":
            pytest.skip("no IPv6 here")
        yield process, int(port)
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.3"),
        ("::", "127.0.0.1"),
    ],
)
def test_who_listens_at_a_port_of_this_machine_is_the_server(bound: str, asked: str) -> None:
    with server(bound) as (process, port):
        place = find_server(Url(asked, port))
    assert place.here
    assert place.listeners == (process.pid,)
    assert place.name.startswith("python")


def test_another_address_has_another_server() -> None:
    with server("127.0.0.2") as (_, port):
        assert find_server(Url("127.0.0.1", port)) == ServerPlace(here=True)


@pytest.mark.parametrize("url", ["http://192.0.2.1:8000", "http://no-such-host.invalid"])
def test_an_address_that_is_not_this_machines_is_elsewhere(url: str) -> None:
    assert find_server(parse_url(url)) == ServerPlace(here=False)


def test_another_users_server_is_not_seen(tmp_path: Path) -> None:
    """Its socket is in the table, and the files of its processes cannot be read."""
    (tmp_path / "net").mkdir()
    # 127.0.0.1:8000, listening; and a connection from there to it.
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address st tx_queue rx_queue tr when uid timeout inode\n"
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 0 1000 0 4321 1\n"
        "   1: 0100007F:1F40 0100007F:9C40 01 00000000:00000000 00:00000000 0 1000 0 4322 1\n"
    )
    url = Url("127.0.0.1", 8000)
    (tmp_path / "12").mkdir()
    assert find_server(url, tmp_path) == ServerPlace(here=True)
    for pid, inode in ((13, 4322), (14, 4321)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
    (tmp_path / "14" / "comm").write_text("llama-server\n")
    if sys.byteorder == "little":
        assert find_server(url, tmp_path) == ServerPlace(True, (14,), "llama-server")


def test_what_a_server_and_its_processes_compute_is_the_runs() -> None:
    with server() as (process, port):
        place = find_server(Url("127.0.0.1", port))
        before = read(place)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("compute\n")
        process.stdin.flush()
        process.stdout.readline()
        after = read(place)
    # A kernel that counts in ticks may be two short.
    assert after.server_s - before.server_s > 0.3 - 3 * TICK_S
    assert after.processors.own_s - before.processors.own_s > 0.3 - 3 * TICK_S


PLACE = ServerPlace(True, (17,), "llama-server")
BEFORE = Reading(Processors(100.0, 2, 50.0, 1.0, 40.0), 30.0)


def later(
    server_s: float, client_s: float = 0.5, others_s: float = 0.5, stolen_s: float = 0
) -> Reading:
    """After ten seconds on two cores."""
    busy_s, own_s = client_s + server_s + others_s, client_s + server_s
    was = BEFORE.processors
    return Reading(
        replace(
            was,
            time_s=was.time_s + 10,
            busy_s=(was.busy_s or 0) + busy_s,
            stolen_s=(was.stolen_s or 0) + stolen_s,
            own_s=was.own_s + own_s,
        ),
        BEFORE.server_s + server_s,
    )


def disturbed_by(place: ServerPlace, after: Reading) -> tuple[bool, str]:
    check = check_server_machine(place, BEFORE, after)
    assert not check.fatal
    return Validity.of([check]).disturbed, check.told


def test_a_server_that_uses_its_machine_disturbs_nobody() -> None:
    disturbed, told = disturbed_by(PLACE, later(18.0))
    assert not disturbed
    assert told.endswith("others here 2.50 %; client and server (llama-server) counted as one")


def test_others_beside_a_server_disturb_it() -> None:
    disturbed, told = disturbed_by(PLACE, later(9.0, others_s=5.0))
    assert disturbed
    assert told.startswith("other processes used 25 % of the processor time; client and server")
    assert "--threads" not in told
    disturbed, told = disturbed_by(PLACE, later(9.0, stolen_s=4.0))
    assert disturbed
    assert "went to other machines" in told


def test_whoever_only_hands_requests_on_may_have_the_server_among_the_others() -> None:
    check = check_server_machine(PLACE, BEFORE, later(0.3, others_s=15.0))
    assert not check.ok
    assert not Validity.of([check]).disturbed
    assert "75 % of the processor time, and llama-server, which listens" in check.told
    # What a hypervisor took, no server here did.
    disturbed, told = disturbed_by(PLACE, later(0.3, others_s=15.0, stolen_s=4.0))
    assert disturbed
    assert "is not known" in told


def test_of_a_server_that_is_not_seen_nothing_is_said_but_what_a_hypervisor_took() -> None:
    unseen = ServerPlace(here=True)
    disturbed, told = disturbed_by(unseen, later(0.0, others_s=19.0))
    assert not disturbed
    assert told.startswith("not judged: who listens")
    assert disturbed_by(unseen, later(0.0, others_s=19.0, stolen_s=4.0))[0]


def test_a_server_elsewhere_is_not_judged_by_this_machine() -> None:
    disturbed, told = disturbed_by(ServerPlace(here=False), later(0.0, others_s=15, stolen_s=4.0))
    assert not disturbed
    assert told.startswith("not judged: the server is not at an address of this machine")
    assert "client_overload" in told
