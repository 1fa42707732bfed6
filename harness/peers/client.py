"""A streaming client of OpenAI's completions API, on plain sockets.

Prompts go out as token ids. Each event's tokens are counted by what the server says it has produced
so far (`usage` of vLLM's `continuous_usage_stats`, `timings` of llama.cpp's `timings_per_token`),
because a server may hold a token back and send two at once; one that says nothing is taken to send
one token an event. Nothing is decoded but those numbers: the client shares the cores it measures.

Source of the format: https://platform.openai.com/docs/api-reference/completions (server-sent
events, the last of them `[DONE]`); chunked transfer coding: RFC 9112, section 7.1.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from .base import PeerError
from .figures import RequestTimes
from .workload import Job

_LONGEST_LINE_BYTES = 2**20


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"http://{self.host}:{self.port}"


def complete(address: Address, job: Job, extra: dict[str, Any]) -> tuple[RequestTimes, ...]:
    """Send a job's requests at once; wait for all. Times are of the monotonic clock.

    extra: fields of the request's body beyond OpenAI's. Raises PeerError where the server refuses,
    breaks off or does not say how many prompt tokens it counted.
    """
    return asyncio.run(_complete(address, job.prompts, job.output_tokens, extra))


async def _complete(
    address: Address,
    prompts: Sequence[Sequence[int]],
    output_tokens: int,
    extra: dict[str, Any],
) -> tuple[RequestTimes, ...]:
    bodies = [
        json.dumps(
            {
                "model": "",
                "prompt": list(prompt),
                "max_tokens": output_tokens,
                "temperature": 0.0,
                "stream": True,
                "stream_options": {"include_usage": True, "continuous_usage_stats": True},
                **extra,
            }
        ).encode()
        for prompt in prompts
    ]
    try:
        return tuple(await asyncio.gather(*(_one(address, body) for body in bodies)))
    except (OSError, EOFError, ValueError) as error:
        raise PeerError(f"{address}: {error or type(error).__name__}") from error


async def _one(address: Address, body: bytes) -> RequestTimes:
    """One request, from connecting to its end."""
    sent_s = time.monotonic()
    reader, writer = await asyncio.open_connection(
        address.host, address.port, limit=_LONGEST_LINE_BYTES
    )
    try:
        writer.write(
            f"POST /v1/completions HTTP/1.1\r\nHost: {address.host}\r\n"
            "Content-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        return await _times(sent_s, _events(reader))
    finally:
        writer.close()


async def _times(sent_s: float, events: AsyncIterator[dict[str, Any]]) -> RequestTimes:
    prompt_tokens: int | None = None
    times_s: list[float] = []
    async for event in events:
        now_s = time.monotonic()
        if "error" in event:
            raise PeerError(f"the server answered: {event['error']}")
        usage = event.get("usage") or {}
        prompt_tokens = usage.get("prompt_tokens", prompt_tokens)
        times_s.extend([now_s] * (produced(event, len(times_s)) - len(times_s)))
    if prompt_tokens is None:
        raise PeerError("the server does not say how many prompt tokens it counted")
    return RequestTimes(sent_s, prompt_tokens, tuple(times_s))


def produced(event: dict[str, Any], before: int) -> int:
    """Output tokens produced up to an event. before: up to the one before it."""
    usage, timings = event.get("usage") or {}, event.get("timings") or {}
    told = usage.get("completion_tokens", timings.get("predicted_n"))
    if told is not None:
        return max(int(told), before)
    return before + 1 if event.get("choices") else before


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events, until `[DONE]`."""
    async for line in _lines(reader):
        kind, _, data = line.partition(b":")
        data = data.strip()
        if kind == b"error":  # llama.cpp's spelling of a failure in mid-stream
            raise PeerError(f"the server answered: {data.decode(errors='replace')}")
        if kind != b"data":
            continue
        if data == b"[DONE]":
            return
        yield json.loads(data)
    raise EOFError("the stream broke off before [DONE]")


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a response's body. Raises PeerError for any status but 200."""
    status = _status(await reader.readline())
    headers: dict[bytes, bytes] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip().lower()
    chunked = headers.get(b"transfer-encoding") == b"chunked"
    if status != HTTPStatus.OK:
        problem = b"".join([part async for part in _body(reader, chunked)])
        raise PeerError(f"the server answered {status}: {problem.decode(errors='replace')[:300]}")
    rest = b""
    async for part in _body(reader, chunked):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line


def _status(line: bytes) -> int:
    """The number in a status line. Raises EOFError where there is none: the server hung up."""
    words = line.split()
    if len(words) < 2:
        raise EOFError("the server closed the connection without an answer")
    return int(words[1])


async def _body(reader: asyncio.StreamReader, chunked: bool) -> AsyncIterator[bytes]:
    """The body as it comes: the data of each chunk, or what is there until the end."""
    while not chunked:
        part = await reader.read(2**16)
        if not part:
            return
        yield part
    while size := int((await reader.readline()).partition(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()
