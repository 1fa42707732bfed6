"""One HTTP connection: bytes out, and what comes in stamped when it is read from the socket.

The clock is read before anything is parsed, and parsing waits until every socket that was ready has
been read: parsed at once, the last of 500 chunks that came together would be stamped with the time
that parsing the other 499 took. Source of the protocol: RFC 9112; read by httptools.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import Protocol

import httptools

from .errors import Label, RequestFailedError
from .reply import Reply
from .sse import EventStream

_MOST_SHOWN_BYTES = 300


class Exchange:
    """One request on its way and the reply to it. Times are of the monotonic clock.

    last_s: when its last event came. heard: whether any byte of the response has. ended_s: when the
    last that was needed did.
    """

    __slots__ = ("data", "ended_s", "events", "heard", "last_s", "reply", "sent_s")

    def __init__(self, data: bytes, sent_s: float, reply: Reply) -> None:
        self.data = data
        self.sent_s = sent_s
        self.last_s = sent_s
        self.ended_s = sent_s
        self.heard = False
        self.events = EventStream()
        self.reply = reply


class Owner(Protocol):
    """Who uses connections, and is told what becomes of them."""

    def ended(self, connection: ClientConnection, failed: RequestFailedError | None) -> None:
        """The connection's exchange is over."""
        ...

    def idle(self, connection: ClientConnection) -> None:
        """The connection may carry another exchange."""
        ...

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""
        ...


class Inbox:
    """Connections with bytes that have been stamped and not parsed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[ClientConnection] = []

    def add(self, connection: ClientConnection) -> None:
        if not self._waiting:
            self._loop.call_soon(self._parse)
        self._waiting.append(connection)

    def _parse(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.parse()


class ClientConnection(asyncio.Protocol):
    """Carries one exchange at a time.

    reused: whether it has carried one before. exchange: the one that is on; None between two.
    """

    def __init__(self, owner: Owner, inbox: Inbox) -> None:
        self._owner = owner
        self._inbox = inbox
        self._transport: asyncio.Transport | None = None
        self._arrived: list[tuple[float, bytes]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._time_s = 0.0
        self._problem: list[bytes] = []
        self._failed: RequestFailedError | None = None
        self._content_type = self._encoding = self._location = b""
        self._must_close = False
        self._is_interim = False
        self._closed = False
        # Between two exchanges, when nothing may come.
        self._at_rest = True
        self.reused = False
        self.exchange: Exchange | None = None

    # What the owner calls.
    def send(self, exchange: Exchange) -> None:
        assert self._transport is not None
        self.exchange = exchange
        self._at_rest = False
        self._failed = None
        self._problem.clear()
        self._transport.write(exchange.data)

    def abandon(self) -> None:
        """Close at once; nobody is told of the exchange."""
        self.exchange = None
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def refusal(self) -> RequestFailedError | None:
        """What the server answers instead of a stream, as far as it has come; None: nothing."""
        if self._failed is None:
            return None
        said = b" ".join(self._problem)[:_MOST_SHOWN_BYTES].decode(errors="replace")
        return RequestFailedError(
            self._failed.label, f"{self._failed}: {said}" if said else str(self._failed)
        )

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # What asyncio calls.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._arrived:
            self._inbox.add(self)
        self._arrived.append((monotonic(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        lost_s = monotonic()
        self.parse()
        self._transport = None
        self._closed = True
        if (exchange := self.exchange) is not None:
            # Until now the slot was taken, however long ago the last byte came.
            self._time_s = lost_s
            self._end(self._broken_off(exchange, exc))
        self._owner.lost(self)

    def _broken_off(self, exchange: Exchange, exc: Exception | None) -> RequestFailedError:
        why = f" ({exc})" if exc else ""
        if not exchange.heard:
            return RequestFailedError(Label.CONNECT, f"the server hung up without an answer{why}")
        return self.refusal or RequestFailedError(
            Label.STREAM_ENDED, f"the stream broke off before [DONE]{why}{_ignored(exchange)}"
        )

    def parse(self) -> None:
        """Whatever has arrived, each piece at its own time."""
        arrived, self._arrived = self._arrived, []
        for time_s, data in arrived:
            if self._closed:
                return
            self._time_s = time_s
            if self.exchange is not None:
                self.exchange.heard = True
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                said = "the server went over to another protocol than HTTP"
                self._fail(RequestFailedError(Label.NOT_HTTP, said))
            except httptools.HttpParserError as error:
                self._fail(self._cause(error))

    @staticmethod
    def _cause(error: httptools.HttpParserError) -> RequestFailedError:
        """What a callback raised, or what was wrong with the HTTP."""
        cause = error.__context__ or error.__cause__
        if isinstance(cause, RequestFailedError):
            return cause
        return RequestFailedError(Label.NOT_HTTP, f"not HTTP: {error}")

    # What httptools calls as it reads.
    def on_message_begin(self) -> None:
        if self._at_rest:
            # It would be taken for the answer to the next request.
            raise RequestFailedError(Label.NOT_HTTP, "an answer to no request")
        self._content_type = self._encoding = self._location = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-type":
                self._content_type = value.lower()
            case b"content-encoding":
                self._encoding = value.lower()
            case b"location":
                self._location = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # A word before the answer, such as `100 Continue`.
        self._is_interim = status < HTTPStatus.OK
        if self._is_interim:
            return
        self._must_close = not self._parser.should_keep_alive()
        if status != HTTPStatus.OK:
            to = self._location[:_MOST_SHOWN_BYTES].decode(errors="replace")
            said = f"the server answered {status}" + (f", to {to}" if to else "")
            self._failed = RequestFailedError(f"http_{status}", said)
        elif self._content_type and b"event-stream" not in self._content_type:
            kind = self._content_type.decode(errors="replace")
            self._failed = RequestFailedError(
                Label.NOT_STREAMING, f"the server answered with {kind} and no event stream"
            )
        elif self._encoding not in (b"", b"identity"):
            how = self._encoding.decode(errors="replace")
            raise RequestFailedError(
                Label.NOT_STREAMING, f"the server answered in the encoding {how}, unasked"
            )

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if self._failed is not None:
            self._problem.append(body[:_MOST_SHOWN_BYTES])
            return
        time_s = self._time_s
        events = exchange.events.feed(body)
        for event in events:
            exchange.reply.note(event, time_s)
        if events:
            # A comment keeps a connection alive, and says nothing of the reply.
            exchange.last_s = time_s
        if exchange.events.done:
            # The rest of the transfer coding tells nothing: the reply is whole.
            self._end(self._settled(exchange))

    def on_message_complete(self) -> None:
        if self._is_interim:
            return
        if self.exchange is not None:
            early = RequestFailedError(
                Label.STREAM_ENDED,
                f"the stream broke off: its body ended before [DONE]{_ignored(self.exchange)}",
            )
            self._end(self.refusal or early)
        self.reused = self._at_rest = True
        if self._must_close or self._closed:
            if self._transport is not None:
                self._transport.close()
        else:
            self._owner.idle(self)

    def _settled(self, exchange: Exchange) -> RequestFailedError | None:
        try:
            exchange.reply.settle()
        except RequestFailedError as error:
            return error
        return None

    def _fail(self, failed: RequestFailedError) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()
        if self.exchange is not None:
            self._end(failed)

    def _end(self, failed: RequestFailedError | None) -> None:
        exchange = self.exchange
        assert exchange is not None
        exchange.ended_s = self._time_s
        self._owner.ended(self, failed)
        self.exchange = None


def _ignored(exchange: Exchange) -> str:
    """What came that is no field of an event: perhaps the page of a proxy."""
    line = exchange.events.ignored
    return f"; no field of an event: {line!r}" if line else ""
