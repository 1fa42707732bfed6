"""One connection, fed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from llmbench.harness.client.connection import ClientConnection, Exchange, Inbox
from llmbench.harness.client.errors import Label, RequestFailedError
from llmbench.harness.client.reply import Reply

USAGE = '"usage":{"prompt_tokens":1,"completion_tokens":1}'
EVENTS = f'data: {{"choices":[{{"text":"a"}}],{USAGE}}}\n\ndata: [DONE]\n\n'.encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    + b"Content-Length: %d\r\n\r\n" % len(EVENTS)
    + EVENTS
)
UNASKED = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


class Notes:
    """An owner that writes down what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[RequestFailedError | None] = []
        self.idled = 0

    def ended(self, connection: ClientConnection, failed: RequestFailedError | None) -> None:  # noqa: ARG002
        self.outcomes.append(failed)

    def idle(self, connection: ClientConnection) -> None:  # noqa: ARG002
        self.idled += 1

    def lost(self, connection: ClientConnection) -> None: ...


class Wire(asyncio.Transport):
    """Takes everything and goes nowhere."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_an_answer_to_no_request_is_not_taken_for_one(loop: asyncio.AbstractEventLoop) -> None:
    """A server may say of a connection that it thinks idle that it will close it. Offered twice for
    reuse, the connection would carry two requests, and the first of them be lost."""
    for apart in (True, False):
        notes, wire = Notes(), Wire()
        connection = ClientConnection(notes, Inbox(loop))
        connection.connection_made(wire)
        connection.send(Exchange(b"", 0.0, Reply()))
        pieces = [ANSWER, UNASKED] if apart else [ANSWER + UNASKED]
        for piece in pieces:
            connection.data_received(piece)
            connection.parse()
        assert notes.outcomes == [None]
        assert notes.idled == 1
        assert not connection.is_open


@pytest.mark.parametrize("apart", [True, False])
def test_a_word_before_the_answer_is_none(loop: asyncio.AbstractEventLoop, apart: bool) -> None:
    """RFC 9110, 15.2: a client must take 1xx before the response, though it asked for none."""
    notes, wire = Notes(), Wire()
    connection = ClientConnection(notes, Inbox(loop))
    connection.connection_made(wire)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for _ in range(2):
        connection.send(Exchange(b"", 0.0, Reply()))
        for piece in [interim, ANSWER] if apart else [interim + ANSWER]:
            connection.data_received(piece)
            connection.parse()
    assert notes.outcomes == [None, None]
    assert notes.idled == 2


def _failure(loop: asyncio.AbstractEventLoop, answer: bytes) -> RequestFailedError:
    notes, wire = Notes(), Wire()
    connection = ClientConnection(notes, Inbox(loop))
    connection.connection_made(wire)
    connection.send(Exchange(b"", 0.0, Reply()))
    connection.data_received(answer)
    connection.parse()
    (failed,) = notes.outcomes
    assert failed is not None
    return failed


def test_another_protocol_fails_its_request_alone(loop: asyncio.AbstractEventLoop) -> None:
    """Known wrong here: the whole run ended with the parser's exception."""
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    failed = _failure(loop, switch)
    assert failed.label == Label.NOT_HTTP
    assert str(failed) == "the server went over to another protocol than HTTP"


def test_a_redirect_says_where_to(loop: asyncio.AbstractEventLoop) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://b/v1\r\nContent-Length: 0\r\n\r\n"
    failed = _failure(loop, moved)
    assert (failed.label, str(failed)) == ("http_302", "the server answered 302, to http://b/v1")


def test_an_answer_that_is_encoded_says_how(loop: asyncio.AbstractEventLoop) -> None:
    answer = ANSWER.replace(b"Content-Length", b"Content-Encoding: gzip\r\nContent-Length")
    failed = _failure(loop, answer)
    assert failed.label == Label.NOT_STREAMING
    assert str(failed).startswith("the server answered in the encoding gzip, unasked")
