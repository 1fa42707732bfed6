"""From a stream of tokens to bytes on the connection, and from a closed connection to an abort."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Send

from .asked import Asked
from .choices import Choices, Part, join
from .errors import UNAVAILABLE, ApiError
from .lives import Life
from .replies import DONE, chunk, event, usage_event, whole
from .spelling import Spelling
from .streams import Stream

Header = tuple[bytes, bytes]
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


@dataclass(frozen=True)
class Reply:
    """A reply on its way. lives: what the engine knows of its requests. close: called at its end,
    however it ends; takes what is left back."""

    asked: Asked
    choices: Choices
    stream: Stream
    lives: Sequence[Life]
    spelt: Spelling
    close: Callable[[], None]

    def usage(self, output_tokens: int) -> dict[str, Any]:
        return self.asked.usage(output_tokens, sum(life.cached_tokens for life in self.lives))


async def send_reply(reply: Reply, receive: Receive, send: Send) -> None:
    """Send a reply, streamed or whole, to its end or until the client is gone.

    The status waits for the first token: until then an error is an HTTP error. Later it is an event
    in the stream, which then ends without `[DONE]`.
    """
    watcher = asyncio.create_task(_close_when_gone(receive, reply.stream))
    try:
        if reply.asked.streams:
            await _send_events(reply, send)
        else:
            await _send_whole(reply, send)
    except _ClientGone:
        pass
    finally:
        reply.close()
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


class _ClientGone(ApiError):  # noqa: N818 -- it says what happened
    """Nobody reads the reply any more."""

    def __init__(self) -> None:
        super().__init__(UNAVAILABLE, "the client closed the connection")


async def _close_when_gone(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.fail(_ClientGone())


async def _send_events(reply: Reply, send: Send) -> None:
    try:
        parts = reply.choices.take(await reply.stream.take())
    except ApiError as error:
        await send_error(error, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
    try:
        while True:
            await _send_body(_chunks(reply, parts), send, more=True)
            if reply.choices.ended:
                break
            parts = reply.choices.take(await reply.stream.take())
    except _ClientGone:
        raise
    except ApiError as error:
        await _send_body(event(error.body), send, more=False)
        return
    asked = reply.asked
    usage = b""
    if asked.usage_at_end:
        usage = usage_event(asked, reply.usage(reply.choices.output_tokens))
    await _send_body(usage + DONE, send, more=False)


def _chunks(reply: Reply, parts: list[Part]) -> bytes:
    """An event a token; those that came together go out in one write."""
    asked, spelt = reply.asked, reply.spelt
    if not asked.usage_in_chunks:
        return b"".join([chunk(asked, part, spelt) for part in parts])
    before = reply.choices.output_tokens - len(parts)
    return b"".join(
        [
            chunk(asked, part, spelt, reply.usage(before + place))
            for place, part in enumerate(parts, 1)
        ]
    )


async def _send_whole(reply: Reply, send: Send) -> None:
    parts: list[Part] = []
    try:
        while not reply.choices.ended:
            parts += reply.choices.take(await reply.stream.take())
    except ApiError as error:
        await send_error(error, send)
        return
    asked = reply.asked
    joined = join(parts, asked.samples * len(asked.requests))
    usage = reply.usage(reply.choices.output_tokens)
    body = orjson.dumps(whole(asked, joined, usage, reply.spelt))
    await _send_json(200, body, send)


async def send_error(error: ApiError, send: Send, headers: Sequence[Header] = ()) -> None:
    """As the whole response; nothing has been sent yet. headers: beside the body's own."""
    if isinstance(error, _ClientGone):
        raise error
    await _send_json(error.status, orjson.dumps(error.body), send, headers)


async def _send_json(
    status: int, body: bytes, send: Send, more_headers: Sequence[Header] = ()
) -> None:
    headers = [*_JSON, (b"content-length", str(len(body)).encode()), *more_headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await _send_body(body, send, more=False)


async def _send_body(body: bytes, send: Send, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
