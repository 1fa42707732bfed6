"""An address of this machine for one server alone, from before it is ready to serve."""

from __future__ import annotations

import errno
import socket
from typing import Any

from ...engines.errors import ConfigError

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel's own limit is often as high."""


def check_port(port: int) -> None:
    """0: any that is free. Raises ConfigError for a number that no port has."""
    if not 0 <= port < 2**16:
        raise ConfigError("port", port, "0 to 65535")


def bind(host: str, port: int) -> socket.socket:
    """A socket that has the port but does not listen yet: clients are refused, not kept waiting,
    and no other server can take the port. Raises ConfigError for `port` or `host`."""
    check_port(port)
    family, kind, protocol, _, address = _resolved(host, port)
    listener = socket.socket(family, kind, protocol)
    try:
        _take(listener, address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_host(host, error.strerror) from error
        raise _not_free(port, error) from error
    return listener


def listen(listener: socket.socket) -> None:
    """Let clients connect. Raises ConfigError for `port` if another server has it after all."""
    try:
        # Or connections to a server before this one, closed a moment ago, would be in the way.
        _set_reuse(listener, on=True)
        listener.listen(BACKLOG)
    except OSError as error:
        raise _not_free(listener.getsockname()[1], error) from error


def _resolved(host: str, port: int) -> Any:
    """The first of `getaddrinfo`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise _no_such_host(host, error.strerror) from error
    except UnicodeError as error:
        raise _no_such_host(host, "not a name") from error
    return found[0]


def _take(listener: socket.socket, address: Any) -> None:
    """Linux lets any number of sockets have one address if all of them say SO_REUSEADDR and none
    listens: this one says it only where it must, and only while it takes the address."""
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # In use, or connections to a server before this one have just been closed.
        _set_reuse(listener, on=True)
        listener.bind(address)
        _set_reuse(listener, on=False)


def _set_reuse(listener: socket.socket, *, on: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, on)


def _no_such_host(host: str, why: str | None) -> ConfigError:
    return ConfigError("host", host, f"an address of this machine: {why}")


def _not_free(port: int, error: OSError) -> ConfigError:
    return ConfigError("port", port, f"a port that is free: {error.strerror}")
