"""One process of the client, on one event loop: sends what is due, and records what came back.

No task and no timer of its own for a request: callbacks and one heartbeat that looks for those that
took too long, because at a thousand requests a second the client must stay out of its own numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from ...workloads.api import Plan, PlannedRequest
from ..run.arrivals import Arrivals
from ..run.drive import Progress
from ..run.record import RequestRecord, RequestStatus
from .addresses import Address, connected, not_connected
from .bodies import Bodies
from .config import ClientConfig
from .connection import ClientConnection, Exchange, Inbox
from .ending import overdue, record_of
from .errors import Label, RequestFailedError
from .headers import without_secrets
from .load import Busyness, Heartbeat
from .reply import Reply, most_tokens

# How often requests are looked over for timeouts, and progress is told.
LOOK_S = 0.1


class _Live:
    """A request on its way."""

    __slots__ = ("connects_s", "exchange", "planned", "retried", "t_due_s")

    def __init__(self, planned: PlannedRequest, t_due_s: float, exchange: Exchange) -> None:
        self.planned = planned
        self.t_due_s = t_due_s
        self.exchange = exchange
        self.connects_s = exchange.sent_s
        self.retried = False


class Client:
    """Serves one plan. addresses: of the server, in the order in which they are tried. Times in
    records count from `origin_s` of the monotonic clock, which the processes of a run share."""

    def __init__(
        self,
        config: ClientConfig,
        plan: Plan,
        bodies: Bodies,
        *,
        addresses: Sequence[Address],
        origin_s: float,
        on_record: Callable[[RequestRecord], None],
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._bodies = bodies
        self._addresses = addresses
        self._origin_s = origin_s
        self._on_record = on_record
        self._on_progress = on_progress
        self._total = len(plan.requests)
        self._arrivals = Arrivals(plan)
        self._headers = config.headers()
        self._head = _head(config)
        self._tls = _connecting(config)
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop)
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._idle: list[ClientConnection] = []
        self._open: set[ClientConnection] = set()
        self._live: dict[ClientConnection | asyncio.Task[None], _Live] = {}
        self._looked_s = 0.0
        self._finished = self._failed = self._output_tokens = 0
        self.connections = 0
        self.interrupted = False
        self.failure = ""

    async def run(self) -> Busyness:
        """Until every request has ended, or the run is stopped."""
        heart = Heartbeat(self._loop, self._beat)
        heart.start()
        self._pump()
        try:
            await self._done
        finally:
            busy = heart.stop()
            if self._timer is not None:
                self._timer.cancel()
            for connection in tuple(self._open):
                connection.abandon()
        return busy

    def stop(self, failure: str = "") -> None:
        """End the run now. What was measured of the requests on their way is kept. failure: why,
        if not for the user."""
        if self._done.done():
            return
        self.interrupted, self.failure = True, failure
        for key, live in tuple(self._live.items()):
            if isinstance(key, asyncio.Task):
                key.cancel()
            live.exchange.reply.cut_short()
            self._record(live, RequestStatus.UNFINISHED, None)
        self._live.clear()
        self._done.set_result(None)

    # Sending.
    def _pump(self) -> None:
        """Send what is due, and come again when the next is."""
        if self._done.done():
            return
        for planned, t_due_s in self._arrivals.due(monotonic() - self._origin_s):
            self._send(planned, t_due_s)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_s = self._arrivals.next_due_s()
        if next_s is not None:
            self._timer = self._loop.call_at(self._origin_s + next_s, self._pump)
        elif not self._live and not self._arrivals:
            self._done.set_result(None)

    def _send(self, planned: PlannedRequest, t_due_s: float) -> None:
        body = self._bodies.of(planned)
        data = self._head % (self._bodies.name(planned).encode(), len(body)) + body
        reply = Reply(most_tokens(planned.output_tokens * planned.samples))
        live = _Live(planned, t_due_s, Exchange(data, monotonic(), reply))
        if self._idle:
            self._carry(self._idle.pop(), live)
        else:
            self._connect(live)

    def _carry(self, connection: ClientConnection, live: _Live) -> None:
        self._live[connection] = live
        connection.send(live.exchange)

    def _connect(self, live: _Live) -> None:
        live.connects_s = monotonic()
        task = self._loop.create_task(self._connected(live))
        self._live[task] = live

    async def _connected(self, live: _Live) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            _, connection = await self._loop.create_connection(
                lambda: ClientConnection(self, self._inbox),
                sock=await connected(self._addresses),
                **self._tls,
            )
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
            if self._live.pop(task, None) is not None:
                live.exchange.ended_s = monotonic()
                self._close(live, not_connected(error))
            return
        self.connections += 1
        self._open.add(connection)
        if self._live.pop(task, None) is None:
            connection.abandon()  # given up while it connected
        elif connection.is_open:
            self._carry(connection, live)
        else:
            live.exchange.ended_s = monotonic()
            self._close(live, RequestFailedError(Label.CONNECT, "hung up at once"))

    # What connections tell: see `Owner`.
    def ended(self, connection: ClientConnection, failed: RequestFailedError | None) -> None:
        live = self._live.pop(connection, None)
        if live is None:
            return
        hung_up = failed is not None and failed.label == Label.CONNECT
        if hung_up and connection.reused and not live.retried:
            # A server may close a connection that it thinks idle while a request is on its way to
            # it; every HTTP client sends that once more. Latency still counts from the first time.
            live.retried = True
            self._connect(live)
            return
        self._close(live, failed)

    def idle(self, connection: ClientConnection) -> None:
        if self._config.connections == "fresh":
            connection.abandon()
        else:
            self._idle.append(connection)

    def lost(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    # Ending.
    def _close(self, live: _Live, failed: RequestFailedError | None) -> None:
        if failed is not None:
            live.exchange.reply.cut_short()
            said = without_secrets(str(failed), self._headers)
            failed = RequestFailedError(failed.label, said)
        status = RequestStatus.OK if failed is None else RequestStatus.FAILED
        self._record(live, status, failed)
        self._arrivals.ended(live.planned, live.exchange.ended_s - self._origin_s)
        most = self._config.max_errors
        if failed is not None:
            self._failed += 1
            if self._failed == most:
                self.stop(
                    f"stopped after {most} failed requests, the last by {failed.label}: {failed}"
                )
                return
        # Soon, not now: all that has arrived is parsed before anything is sent for it.
        self._loop.call_soon(self._pump)

    def _record(
        self, live: _Live, status: RequestStatus, failed: RequestFailedError | None
    ) -> None:
        record = record_of(
            live.planned, live.t_due_s, live.exchange, self._origin_s, status, failed
        )
        self._finished += 1
        self._output_tokens += record.output_tokens
        self._on_record(record)

    # Now and then.
    def _beat(self) -> int:
        self._bodies.prepare()
        now_s = monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        return len(self._live)

    def _look(self, now_s: float) -> None:
        """Give up what took too long, and tell how far the run is."""
        for key, live in tuple(self._live.items()):
            since_s = live.connects_s if isinstance(key, asyncio.Task) else None
            late = overdue(live.exchange, self._config.timeouts, now_s, since_s)
            # Those that follow the one that ends the run have ended with it.
            if late is None or self._live.pop(key, None) is None:
                continue
            if isinstance(key, asyncio.Task):
                key.cancel()
            else:
                late = key.refusal or late
                key.abandon()
            live.exchange.ended_s = now_s
            self._close(live, late)
        self._on_progress(
            Progress(
                self._finished,
                self._total,
                self._output_tokens,
                now_s - self._origin_s,
                self._failed,
            )
        )


def _connecting(config: ClientConfig) -> dict[str, Any]:
    """How a connection is opened. The heartbeat ends a handshake that takes too long, as it does
    all of connecting; left to asyncio, one that may take longer than a minute could not."""
    if config.tls is None:
        return {}
    most_s = config.timeouts.connect_s + 10 * LOOK_S
    return {
        "ssl": config.tls.context(),
        "server_hostname": config.url.host,
        "ssl_handshake_timeout": most_s,
    }


def _head(config: ClientConfig) -> bytes:
    """The head of every request, with room for its name and its body's length."""
    lines = [
        f"POST {config.path} HTTP/1.1",
        f"Host: {config.url.host_header}",
        "Content-Type: application/json",
        "Accept: text/event-stream",
        *(f"{name}: {value}" for name, value in config.headers().items()),
        f"Connection: {'keep-alive' if config.connections == 'pool' else 'close'}",
    ]
    head = "\r\n".join(lines).replace("%", "%%")
    return f"{head}\r\nX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n".encode()
