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
MOST_BYTES = 2**24


class Answer(NamedTuple):
    status: int
    body: bytes


def fetch(
    url: str,
    timeout_s: float,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    trust: Trust | None = None,
    most_bytes: int | None = MOST_BYTES,
) -> Answer:
    """timeout_s: to connect, and once more for all of the answer. trust: for https; None: the
    system's. most_bytes: of the body; None: any number. Raises OSError or
    http.client.HTTPException where there is no answer, or a longer one."""
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
            body = response.read(None if most_bytes is None else most_bytes + 1)
            if most_bytes is not None and len(body) > most_bytes:
                raise HTTPException(f"the answer has more than {most_bytes} bytes")
            return Answer(response.status, body)


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
