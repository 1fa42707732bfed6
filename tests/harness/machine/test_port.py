"""A port belongs to one server from the moment that it is taken, long before it listens."""

from __future__ import annotations

import socket

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.machine.port import bind, listen


def port_of(listener: socket.socket) -> int:
    return listener.getsockname()[1]


def closed_a_moment_ago() -> int:
    """A port whose server has ended, its last connection closed from its own side."""
    with bind("127.0.0.1", 0) as listener:
        listen(listener)
        port = port_of(listener)
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    return port


@pytest.mark.parametrize("after_another", [False, True])
def test_a_port_that_does_not_listen_yet_is_taken(*, after_another: bool) -> None:
    """Known wrong here: both servers loaded their models and said that they serve."""
    with bind("127.0.0.1", closed_a_moment_ago() if after_another else 0) as first:
        with pytest.raises(ConfigError, match=f"port: {port_of(first)} is not allowed"):
            bind("127.0.0.1", port_of(first))
        listen(first)
        with pytest.raises(ConfigError, match="a port that is free: Address already in use"):
            bind("127.0.0.1", port_of(first))


def test_clients_are_refused_until_it_listens() -> None:
    with bind("127.0.0.1", 0) as listener:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port_of(listener)), timeout=10)
        listen(listener)
        socket.create_connection(("127.0.0.1", port_of(listener)), timeout=10).close()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_no_port_has(port: int) -> None:
    with pytest.raises(ConfigError, match=f"port: {port} is not allowed; expected 0 to 65535"):
        bind("127.0.0.1", port)


def test_a_port_that_another_program_listens_at_by_then() -> None:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port_of(first)))
        first.listen()
        with pytest.raises(ConfigError, match=f"port: {port_of(second)} is not allowed"):
            listen(second)


@pytest.mark.parametrize("host", ["not a host", "a" * 64, "192.0.2.1"])
def test_a_host_that_is_none(host: str) -> None:
    """Known wrong here: an address of another machine was "a port that is free", if it were."""
    with pytest.raises(ConfigError, match=f"host: '{host}' is not allowed"):
        bind(host, 0)
