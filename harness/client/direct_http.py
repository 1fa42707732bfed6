"""Small reads over HTTP beside a measured connection, by the way that connection takes.

`urllib` would go by the environment's proxies, which no client of ours does, so that another server
may answer than the one that is measured; it would take a key along when it is redirected to another
host; and its timeout is that of each read, so that a server which sends a byte now and then holds
it for ever.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from .tls import SYSTEM_TRUST, Trust

# Longer than any list of models or page of metrics.
_MOST_BYTES = 2**24


class Answer(NamedTuple):
    """body: no more than 16 MiB of it."""

    status: int
    body: bytes


def fetch(
    url: str,
    timeout_s: float,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    trust: Trust | None = None,
) -> Answer:
    """timeout_s: to connect, and once more for all of the answer. trust: for https; None: the
    system's. Raises OSError or http.client.HTTPException where there is no answer."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    if parts.scheme == "https":
        context = (trust or SYSTEM_TRUST).context()
        connection = HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
    else:
        connection = HTTPConnection(host, parts.port, timeout=timeout_s)
    with closing(connection):
        connection.connect()
        with _ended_after(timeout_s, connection.sock):
            connection.request(method, path, headers={**(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.read(_MOST_BYTES))


@contextmanager
def _ended_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        # Of the socket itself: TLS would wait for the other side's farewell.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException) as error:
        if overdue.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()
    if overdue.is_set():
        raise TimeoutError("timed out")
