"""Where a server is, found out once: a name that is looked up for every connection is looked up in
the time of requests, and may lead to another server each time."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

from ..machine.open_files import most_open_files
from .config import ClientConfig
from .errors import Label, RequestFailedError, TargetError
from .tls import explain_tls


class Address(NamedTuple):
    """One of TCP. place: host and port, and what else its family takes."""

    family: int
    place: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.place[0])

    def socket(self) -> socket.socket:
        # By the protocol's name asyncio knows that small writes need not wait for each other.
        return socket.socket(self.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def resolve(config: ClientConfig) -> tuple[Address, ...]:
    """All addresses of the server's name; of several, the first that takes a connection goes first.
    Raises TargetError for a name that has none."""
    url = config.url
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        problem = f"has a name that leads to no address: {error!s}"
        raise TargetError(str(url), problem) from error
    addresses = tuple(dict.fromkeys(Address(int(family), place) for family, *_, place in found))
    if len(addresses) == 1:
        return addresses
    taken = next((one for one in addresses if _takes(one, config.timeouts.connect_s)), addresses[0])
    return (taken, *(one for one in addresses if one != taken))


def _takes(address: Address, timeout_s: float) -> bool:
    """Whether anybody listens: `localhost` leads to ::1 where only 127.0.0.1 does."""
    try:
        with closing(address.socket()) as trial:
            trial.settimeout(timeout_s)
            trial.connect(address.place)
            return True
    except OSError:
        return False


async def connected(addresses: Sequence[Address]) -> socket.socket:
    """A socket to the first that takes a connection. Raises OSError as the first of them did where
    none does."""
    refusals: list[OSError] = []
    for address in addresses:
        taken = address.socket()
        try:
            taken.setblocking(False)
            await asyncio.get_running_loop().sock_connect(taken, address.place)
        except BaseException as error:
            taken.close()
            if not isinstance(error, OSError):
                raise
            refusals.append(error)
        else:
            return taken
    raise refusals[0]


def not_connected(error: OSError | ValueError) -> RequestFailedError:
    """What it means for a request that its connection could not be opened."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return RequestFailedError(
            Label.OPEN_FILES,
            f"a process of the client may have {most_open_files()} files open at once, of which "
            "each connection is one: raise its hard limit (ulimit -Hn), or take more --processes",
        )
    why = explain_tls(error)
    label = Label.CONNECT if why is None else Label.TLS
    return RequestFailedError(label, why or str(error))
