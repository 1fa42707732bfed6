"""What the engine's process and the server's tell each other, as bytes.

A step's tokens are plain numbers and text, which `marshal` writes and reads in a quarter of the
time that `pickle` takes: each step waits for the one, each token for the other. It asks that both
ends are of one Python, as they are. All else is pickled.
"""

from __future__ import annotations

import marshal
import pickle
from multiprocessing.connection import Connection
from typing import Any

from ...engines.api import FinishReason, TokenEvent
from .engine_loop import Told
from .lives import StepSeen

_TOKENS, _OTHER = b"t", b"o"


# `Connection.send` looks for objects that only multiprocessing can send, at each message.
def put(connection: Connection, message: Any) -> None:
    connection.send_bytes(packed(message))


def get(connection: Connection) -> Any:
    """Raises EOFError or OSError where the other end is gone."""
    return unpacked(connection.recv_bytes())


def packed(message: Any) -> bytes:
    if isinstance(message, Told) and all(event.logprobs is None for event in message.events):
        seen: Any = None if message.step is None else tuple(message.step)
        plain = [_plain(event) for event in message.events]
        return _TOKENS + marshal.dumps((seen, plain, message.idle))
    return _OTHER + pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def _plain(event: TokenEvent) -> Any:
    finish = None if event.finish is None else event.finish.value
    return (event.request_id, event.token_id, event.time_s, finish, event.detail, event.choice)


def unpacked(data: bytes) -> Any:
    body = memoryview(data)[1:]
    if data[:1] == _OTHER:
        return pickle.loads(body)
    seen, plain, idle = marshal.loads(body)
    events = tuple([_event(*fields) for fields in plain])
    return Told(None if seen is None else StepSeen._make(seen), events, idle)


def _event(
    name: str, token_id: int | None, time_s: float, finish: str | None, detail: str, choice: int
) -> TokenEvent:
    end = None if finish is None else FinishReason(finish)
    return TokenEvent(name, token_id, time_s, end, detail, choice)
