"""What the engine's process and the server's tell each other, as bytes.

Requests and a step's tokens are plain numbers and text, which `marshal` writes and reads in a
quarter of the time that `pickle` takes: each step waits for the one, each first token for both. It
asks that both ends are of one Python, as they are. All else is pickled.
"""

from __future__ import annotations

import marshal
import pickle
from multiprocessing.connection import Connection
from typing import Any

from ...engines.api import FinishReason, Request, SamplingParams, TokenEvent
from .engine_loop import Submit, Told
from .lives import StepSeen

_REQUESTS, _TOKENS, _OTHER = b"r", b"t", b"o"


# `Connection.send` looks for objects that only multiprocessing can send, at each message.
def put(connection: Connection, message: Any) -> None:
    connection.send_bytes(packed(message))


def get(connection: Connection) -> Any:
    """Raises EOFError or OSError where the other end is gone."""
    return unpacked(connection.recv_bytes())


def packed(message: Any) -> bytes:
    if isinstance(message, Submit):
        return _REQUESTS + marshal.dumps([_plain_request(one) for one in message.requests])
    if isinstance(message, Told) and all(event.logprobs is None for event in message.events):
        seen: Any = None if message.step is None else tuple(message.step)
        plain = [_plain(event) for event in message.events]
        return _TOKENS + marshal.dumps((seen, plain, message.idle))
    return _OTHER + pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def _plain_request(one: Request) -> Any:
    prompt = tuple(one.prompt_token_ids)
    return (one.request_id, prompt, vars(one.sampling), one.arrival_s, one.priority, one.cache_salt)


def _request(
    name: str,
    prompt: tuple[int, ...],
    sampling: dict[str, Any],
    arrival_s: float,
    priority: int,
    cache_salt: str | None,
) -> Request:
    return Request(name, prompt, SamplingParams(**sampling), arrival_s, priority, cache_salt)


def _plain(event: TokenEvent) -> Any:
    finish = None if event.finish is None else event.finish.value
    return (event.request_id, event.token_id, event.time_s, finish, event.detail, event.choice)


def unpacked(data: bytes) -> Any:
    body = memoryview(data)[1:]
    if data[:1] == _OTHER:
        return pickle.loads(body)
    if data[:1] == _REQUESTS:
        return Submit([_request(*fields) for fields in marshal.loads(body)])
    seen, plain, idle = marshal.loads(body)
    events = tuple([_event(*fields) for fields in plain])
    return Told(None if seen is None else StepSeen._make(seen), events, idle)


def _event(
    name: str, token_id: int | None, time_s: float, finish: str | None, detail: str, choice: int
) -> TokenEvent:
    end = None if finish is None else FinishReason(finish)
    return TokenEvent(name, token_id, time_s, end, detail, choice)
