"""The mock server beside the test that talks to it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from llmbench.harness.mock.server import MockServer


@contextmanager
def in_thread(server: MockServer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its base URL while it serves; `server.log` can be read all the time. tls: with which
    certificate."""
    loop = asyncio.new_event_loop()
    port = loop.run_until_complete(server.start(tls=tls))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(server.stop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
