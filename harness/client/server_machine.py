"""Whether others had the processors that a server computed on, where those are this machine's.

A server at one of this machine's addresses shares its processors with the client and with others,
so the run is client and server, and the rest disturbs it. Who the server is goes by who listens at
the port, and all that this started; another user's processes, and another container's, are not
seen. Of a server elsewhere no processor is seen: what others did to the client shows as its lag,
which is checked by itself.

Source: proc(5) for /proc/net/tcp, /proc/net/tcp6 and /proc/PID/fd.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...kernels.control_groups import text_of
from ...reports.format import percent
from ..machine.state import OFF_BY_MORE, Processors, Taken, read_processors, spent_s, taken
from ..result import Check
from .config import Url

# A listener that spent less than this part of what others did may only hand requests on: a
# container's proxy or a tunnel copies bytes, while the server is among the others.
RELAY_SHARE = 0.1
_LISTEN = "0A"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class ServerPlace:
    """here: whether it is at an address of this machine. listeners: the ids of the processes that
    listen at its port; empty where none is seen. name: of the first."""

    here: bool
    listeners: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Reading:
    """processors: of this machine, with client and server as the run's own. server_s: what the
    listeners and all that they started have spent."""

    processors: Processors
    server_s: float


def find_server(url: Url, proc: Path = Path("/proc")) -> ServerPlace:
    """Where the server of that address runs."""
    addresses = [one for one in _addresses(url) if _is_here(one)]
    if not addresses:
        return ServerPlace(here=False)
    sockets = set(_listening(proc, addresses, url.port))
    listeners = tuple(sorted(_holders(proc, sockets)))
    name = text_of(proc / str(listeners[0]) / "comm").strip() if listeners else ""
    return ServerPlace(True, listeners, name)


def read(place: ServerPlace) -> Reading:
    """The counters now."""
    return Reading(read_processors(of_the_run=place.listeners), spent_s(place.listeners))


def check_server_machine(place: ServerPlace, before: Reading, after: Reading) -> Check:
    """As `machine/state.py: check_alone`, as far as it is known. Where the server may be one of the
    others, these are no disturbance that could be told from it: a caution of its own says so, if
    they had too much, and decides nothing."""
    if not place.here:
        return _not_known(
            "the server is not at an address of this machine, so what others did to its "
            "processors is not seen; the client's own lag is judged by client_overload"
        )
    had = taken(before.processors, after.processors)
    if not place.listeners:
        told = "who listens at the server's port is not seen, so others are not told from it"
        return _steal_alone(had, told) or _not_known(told)
    server_s = after.server_s - before.server_s
    others_s = had.others * after.processors.cores * _seconds(before, after)
    if Taken(0.0, had.others).told and server_s < RELAY_SHARE * others_s:
        told = (
            f"other processes used {percent(had.others)} of the processor time, and {place.name}, "
            f"which listens at the server's port, {server_s:.1f} s: whether the server is one of "
            "the others, behind a proxy or a tunnel, is not known"
        )
        return _steal_alone(had, told) or Check(
            id="server_unseen", ok=False, fatal=False, value=had.others, detail=told
        )
    found = had.check(f"{OFF_BY_MORE}; measure again when nobody else computes")
    counted = f"client and server ({place.name}) counted as one"
    return found.model_copy(update={"detail": f"{found.detail}; {counted}"})


def _steal_alone(had: Taken, told: str) -> Check | None:
    """What other machines took is no server's here. None where it is little."""
    stolen = Taken(had.stolen, 0.0)
    if not stolen.told:
        return None
    found = stolen.check(OFF_BY_MORE)
    return found.model_copy(update={"detail": f"{found.detail}; {told}"})


def _not_known(told: str) -> Check:
    return Check(id="machine", ok=True, fatal=False, detail=f"not judged: {told}")


def _seconds(before: Reading, after: Reading) -> float:
    return after.processors.time_s - before.processors.time_s


def _addresses(url: Url) -> list[IPAddress]:
    """All that the name stands for; none where it cannot be looked up."""
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(one[4][0])) for one in found]


def _is_here(address: IPAddress) -> bool:
    """A socket can be bound to a machine's own addresses only."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.bind((str(address), 0))
    except OSError:
        return False
    return True


def _listening(proc: Path, addresses: Sequence[IPAddress], port: int) -> Iterator[str]:
    """Inodes of the sockets that listen at the port of these addresses, or of every one."""
    asked = {bytes(4), bytes(16)}
    for address in addresses:
        asked.add(address.packed)
        if address.version == 4:  # at a socket of IPv6
            asked.add(bytes(10) + b"\xff\xff" + address.packed)
    printed = {_in_hex(one) for one in asked}
    for table in ("tcp", "tcp6"):
        for line in text_of(proc / "net" / table).splitlines()[1:]:
            words = line.split()
            host, _, number = words[1].partition(":")
            if words[3] == _LISTEN and int(number, 16) == port and host in printed:
                yield words[9]


def _in_hex(packed: bytes) -> str:
    """As the kernel prints an address: words of this machine's byte order."""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def _holders(proc: Path, inodes: set[str]) -> Iterator[int]:
    """Processes that have one of these sockets open; those of others are not seen."""
    asked = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir() if asked else ():
        if process.name.isdecimal():
            # Ended meanwhile, or another user's.
            with suppress(OSError):
                if any(_target(one) in asked for one in (process / "fd").iterdir()):
                    yield int(process.name)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""
