"""The mock server: raw asyncio, so that it can emit more than a client can take."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import httptools

from ...engines.errors import ConfigError
from ..client.names import name_within_run
from ..machine.open_files import raise_open_files
from ..machine.port import BACKLOG, bind, listen
from .log import MOST_LOGGED, Log, Sent
from .rule import Rule
from .script import Ending, Plain, Script
from .wire import COMMENT, LAST, MODEL, STREAM_HEAD, Wire, error_event, framed, plain

Scripted = Callable[[Mapping[str, Any], str], Script]
"""A request's body and name to what happens to it: the name within its run, so that a run that is
sent again is answered alike."""

_PATHS = {b"/v1/completions": False, b"/v1/chat/completions": True}
_COMMENTS_EVERY_S = 0.02
_NOT_FOUND = Plain(404, body=b'{"error": {"message": "no such path"}}')


class MockServer:
    """An OpenAI-compatible server whose every byte is scripted.

    log: what it sent, the newest `most_logged` requests of it. bodies: what it was sent, and heads:
    what each request asked for, with its headers by their names in small letters, if
    `keep_bodies`. owned_by: what `/v1/models` calls the maker, by which clients know a server.
    """

    def __init__(
        self,
        scripted: Scripted | None = None,
        *,
        most_logged: int = MOST_LOGGED,
        keep_bodies: bool = False,
        owned_by: str = "llmbench-mock",
    ) -> None:
        self.scripted: Scripted = scripted or Rule().script
        self.log = Log(most_logged)
        self.bodies: list[Mapping[str, Any]] = []
        self.heads: list[tuple[str, Mapping[str, str]]] = []
        self.keep_bodies = keep_bodies
        self.owned_by = owned_by
        self.connections = self.requests = 0
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> int:
        """Listen; returns the port. tls: with which certificate. Raises ConfigError for `host` or
        `port` where it cannot."""
        raise_open_files()
        loop = asyncio.get_running_loop()
        listener = bind(host, port)
        listen(listener)
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), sock=listener, backlog=BACKLOG, ssl=tls
        )
        return listener.getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, method: bytes, path: bytes) -> Plain:
        """What is asked for beside completions."""
        if path == b"/v1/models":
            card = {"id": MODEL, "object": "model", "owned_by": self.owned_by}
            return Plain(body=json.dumps({"object": "list", "data": [card]}).encode())
        if path == b"/health":
            return Plain(body=b"{}")
        if path == b"/mock/log":
            found = json.dumps(self.log.as_json()).encode()
            if method == b"DELETE":
                self.log.clear()
            return Plain(body=found)
        return _NOT_FOUND


class _Connection(asyncio.Protocol):
    """One client's connection; requests follow each other on it."""

    def __init__(self, server: MockServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received_s = 0.0
        self._url = b""
        self._name = ""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received_s = monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.write(plain(Plain(400)))
            self.close()

    # What httptools calls as it reads.
    def on_message_begin(self) -> None:
        self._url, self._name, self._body, self._headers = b"", "", [], {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._name = value.decode()
        if self._server.keep_bodies:
            self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._server.keep_bodies:
            self._server.heads.append((self._url.decode(), self._headers))
        path = self._url.partition(b"?")[0]
        method = self._parser.get_method()
        if method != b"POST" or path not in _PATHS:
            self._plain(self._server.answer(method, path))
            return
        try:
            body = json.loads(b"".join(self._body))
            prompt_tokens = count_prompt(body)
            name = self._name or f"request-{self._server.requests}"
            script = self._server.scripted(body, name_within_run(name))
        except (ValueError, TypeError, KeyError, ConfigError) as error:
            message = json.dumps({"error": {"message": str(error)}}).encode()
            self.write(plain(Plain(400, body=message)))
            return
        if self._server.keep_bodies:
            self._server.bodies.append(body)
        sent = Sent(name, self._received_s, prompt_tokens)
        self._server.log.append(sent)
        self._server.requests += 1
        self._answer(body, name, script, sent, chat=_PATHS[path])

    def _answer(
        self, body: Mapping[str, Any], name: str, script: Script, sent: Sent, *, chat: bool
    ) -> None:
        if script.headers_after_s is None:
            return
        wire = Wire(script, name, chat=chat, prompt_tokens=sent.prompt_tokens)
        if (answer := script.plain) is not None:
            self._later(script.headers_after_s, lambda: self._plain(answer))
        elif not body.get("stream"):
            wait_s = script.headers_after_s + sum(chunk.gap_s for chunk in script.chunks)
            self._later(wait_s, lambda: self._plain(Plain(body=wire.whole())))
        else:
            reply = _Stream(self, script, wire, sent, role_first=chat)
            self._later(script.headers_after_s, reply.begin)

    def _plain(self, answer: Plain) -> None:
        self.write(plain(answer))
        if answer.raw is not None:
            self.close()

    def _later(self, wait_s: float, do: Callable[[], None]) -> None:
        self.at(self._received_s + wait_s, do)

    def at(self, time_s: float, do: Callable[[], None]) -> None:
        """Asyncio's clock is the monotonic one."""
        if time_s <= monotonic():
            do()
        else:
            self.wake(time_s, do)

    def wake(self, time_s: float, do: Callable[[], None]) -> None:
        """As `at`, but never before this call returns."""
        if self._transport is not None:
            self._timer = self._loop.call_at(time_s, do)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        return self._transport is not None


class _Stream:
    """One streamed reply. Each chunk is due its gap after the one before it was due, so that a
    server that is late does not drift."""

    def __init__(
        self, connection: _Connection, script: Script, wire: Wire, sent: Sent, *, role_first: bool
    ) -> None:
        self._connection = connection
        self._script = script
        self._wire = wire
        self._sent = sent
        self._role_first = role_first
        self._next = 0
        self._due_s = 0.0

    def begin(self) -> None:
        self._due_s = monotonic()
        head = STREAM_HEAD + (framed(self._wire.role()) if self._role_first else b"")
        self._connection.write(head)
        self._go_on()

    def _go_on(self) -> None:
        """Send what is due, after a stall any number of chunks; come back for what is not."""
        chunks, connection = self._script.chunks, self._connection
        while self._next < len(chunks):
            if not connection.is_open:
                return
            due_s = self._due_s + chunks[self._next].gap_s
            if monotonic() < due_s:
                connection.wake(due_s, self._go_on)
                return
            self._due_s = due_s
            self._send()
        self._end()

    def _send(self) -> None:
        """The chunk that is due, and those that go with it."""
        chunks, wire = self._script.chunks, self._wire
        first, last = self._next, len(chunks) - 1
        end = first + 1
        while end <= last and chunks[end].gap_s == 0:
            end += 1
        data = b"".join(
            [framed(wire.chunk(chunks[at], last=at == last)) for at in range(first, end)]
        )
        self._next = end
        now_s = monotonic()
        self._connection.write(data)
        for at in range(first, end):
            if chunks[at].tokens:
                self._sent.chunk_times_s.append(now_s)
                self._sent.chunk_tokens.append(chunks[at].tokens)

    def _end(self) -> None:
        connection, script = self._connection, self._script
        if script.error_event:
            connection.write(framed(error_event(script.error_event)) + LAST)
            return
        match script.ending:
            case Ending.DONE:
                connection.write(framed(self._wire.end()) + LAST)
            case Ending.NO_DONE:
                connection.write(LAST)
            case Ending.CLOSE:
                connection.close()
            case Ending.HANG:
                return
            case Ending.COMMENTS:
                self._comment()

    def _comment(self) -> None:
        """And again after a while, as long as anybody listens."""
        self._connection.write(framed(COMMENT))
        self._connection.at(monotonic() + _COMMENTS_EVERY_S, self._comment)


def count_prompt(body: Mapping[str, Any]) -> int:
    """Tokens of a prompt: ids are counted; of text and chats, words."""
    if "messages" in body:
        return sum(len(str(one["content"]).split()) for one in body["messages"])
    prompt = body["prompt"]
    return len(prompt.split()) if isinstance(prompt, str) else len(prompt)
