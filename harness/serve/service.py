"""What stands between the protocol and the engine: who is let in, and how a reply begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...engines.clock import Clock
from .asked import understand
from .bodies import Body, ChatBody, CompletionBody
from .choices import Choices
from .engine_loop import Told
from .errors import NOT_FOUND, TOO_MANY, UNAVAILABLE, ApiError, bad_request
from .lives import Lives
from .metrics import ServerMetrics
from .prompts import Prompts
from .respond import Reply
from .spelling import Spelling
from .streams import Stream, Switchboard
from .worker import Worker, failure_line


@dataclass(frozen=True)
class Offer:
    """What is served. name: as clients ask for it. max_num_seqs: sequences of one step, and so
    samples of one prompt. max_waiting: requests that may wait for their first step before more are
    turned away, at least 1; None for any number."""

    name: str
    max_model_len: int
    max_num_seqs: int
    max_waiting: int | None = None


class Service:
    """One engine for all connections. All of it is on the event loop, but for the worker."""

    def __init__(
        self,
        offer: Offer,
        worker: Worker,
        lives: Lives,
        prompts: Prompts,
        clock: Clock,
        metrics: ServerMetrics,
    ) -> None:
        self.offer = offer
        self.metrics = metrics
        self.clock = clock
        self.started_at = int(time.time())
        self._worker = worker
        self._lives = lives
        self._prompts = prompts
        self._spelt = Spelling(prompts.tokenizer)
        self._board = Switchboard()
        self._closing: str = ""

    def start(self, on_failure: Callable[[Exception], None] = lambda _: None) -> None:
        """In a running event loop. on_failure: told when the engine is lost."""

        def fail(error: Exception) -> None:
            self._board.fail_all(ApiError(UNAVAILABLE, self.why_not_alive))
            on_failure(error)

        self._worker.start(asyncio.get_running_loop(), self._receive, fail)

    def stop(self) -> None:
        self._worker.stop()

    def _receive(self, told: Told) -> None:
        try:
            # First what is known of requests: replies say it beside the tokens.
            self._lives.note_step(told.step, told.events)
        finally:
            # Whatever is wrong with an observer, nobody waits for tokens that are there.
            self._board.deliver(told.events)
        if told.idle:
            self._lives.note_idle()

    def close(self, why: str) -> None:
        """Turn new requests away from now on; those in flight go on."""
        self._closing = why

    def cut(self, why: str) -> None:
        """End every reply in flight with an error."""
        self._board.fail_all(ApiError(UNAVAILABLE, why))

    @property
    def why_not_alive(self) -> str:
        """Empty if the engine serves."""
        failure = self._worker.failure
        if failure is not None:
            return f"the engine failed: {failure_line(failure)}"
        return "" if self._worker.alive else "the engine does not run"

    async def reply_to(
        self,
        body: CompletionBody | ChatBody,
        arrival_s: float,
        client_name: str | None = None,
    ) -> Reply:
        """Hand a request to the engine. client_name: what its client calls it. Raises ApiError
        where it cannot be served."""
        self._check_model(body)
        self._check_open()
        asked = await understand(
            body,
            self._prompts,
            model=self.offer.name,
            arrival_s=arrival_s,
            max_model_len=self.offer.max_model_len,
            max_num_seqs=self.offer.max_num_seqs,
        )
        # Again: it was open before the prompt was read, and whoever is connected from here on is
        # told of an engine that is lost.
        self._check_open()
        self._check_room(len(asked.requests))
        stream = Stream()
        self._board.connect(asked.request_ids, stream)
        lives = [self._lives.begin(request, client_name) for request in asked.requests]
        self._worker.submit(asked.requests)
        choices = Choices(asked, self._prompts.tokenizer.decode)

        def close() -> None:
            self._board.disconnect(asked.request_ids)
            if not choices.ended:
                self._worker.abort(asked.request_ids)
                for name in asked.request_ids:
                    self._lives.take_back(name)

        return Reply(asked, choices, stream, lives, self._spelt, close)

    def _check_model(self, body: Body) -> None:
        if body.model not in (None, self.offer.name):
            raise ApiError(
                NOT_FOUND,
                f"model: {body.model!r} is not served here; {self.offer.name!r} is",
                "model",
                "model_not_found",
            )

    def _check_open(self) -> None:
        if why := self._closing:
            raise ApiError(UNAVAILABLE, why)
        if why := self.why_not_alive:
            raise ApiError(UNAVAILABLE, why)

    def _check_room(self, more: int) -> None:
        most, waiting = self.offer.max_waiting, self._lives.waiting
        if most is None:
            return
        if more > most:
            raise bad_request("prompt", f"{more} prompts at once; at most {most} may wait")
        if waiting + more > most:
            raise ApiError(
                TOO_MANY,
                f"{waiting} requests wait for the engine; at most {most} may (--max-waiting)",
                code="overloaded",
            )
