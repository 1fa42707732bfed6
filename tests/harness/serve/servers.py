"""A server over the real step loop, with an executor that a test lets go step by step."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.api import Request, TokenLogprobs
from llmbench.engines.batching.unified import UnifiedBatching
from llmbench.engines.clock import WallClock
from llmbench.engines.core import EngineCore
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.models.tokenizer import ByteTokenizer, Tokenizer
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import Strategy
from llmbench.harness.machine.port import bind
from llmbench.harness.run.chat_template import Render
from llmbench.harness.serve.engine_loop import Abort, Command, EngineLoop, Stop, Submit, Told
from llmbench.harness.serve.engine_process import lost
from llmbench.harness.serve.lives import Observer
from llmbench.harness.serve.prompts import Prompts
from llmbench.harness.serve.server import GracefulServer, service_over, url
from llmbench.harness.serve.service import Offer
from llmbench.harness.serve.worker import OnFailure, Receive

EOS = 0
SEQUENCES = 8
WAIT_S = 10.0


@dataclass
class ScriptedExecutor:
    """Says `script` byte by byte, whatever the prompt; then end of text, for ever.

    held: while set, a step waits for `go`. failure: what the next step raises. logprobs: of each
    token.
    """

    script: bytes = b"Hello, world!"
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    held: bool = False
    failure: BaseException | None = None
    logprobs: TokenLogprobs | None = None

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        del kv, moves
        if self.held and not self.go.acquire(timeout=WAIT_S):
            raise TimeoutError("no test let this step go")
        if self.failure is not None:
            raise self.failure
        tokens: list[int] = []
        for chunk in plan.chunks:
            if chunk.reaches_tail:
                place = chunk.request.output_tokens
                token = self.script[place] if place < len(self.script) else EOS
                tokens += [token] * chunk.request.samples
        return StepResult(tuple(tokens), logprobs=[self.logprobs] * len(tokens))


class EngineThread:
    """A worker in this process, so that a test can hold the engine and look at it."""

    def __init__(self, engine: EngineCore, clock: WallClock) -> None:
        self._engine = engine
        self._clock = clock
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: Exception | None = None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self.failure is None

    def start(
        self, loop: asyncio.AbstractEventLoop, receive: Receive, on_failure: OnFailure
    ) -> None:
        self._loop, self._receive, self._on_failure = loop, receive, on_failure
        self._thread.start()

    def submit(self, requests: Sequence[Request]) -> None:
        self._inbox.put(Submit(requests))

    def abort(self, request_ids: Sequence[str]) -> None:
        self._inbox.put(Abort(request_ids))

    def stop(self) -> None:
        self._inbox.put(Stop())
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        def tell(told: Told) -> None:
            self._loop.call_soon_threadsafe(self._receive, told)

        try:
            EngineLoop(self._engine, self._clock, self._inbox, tell).run()
        except BaseException as error:  # noqa: BLE001 (as the process does)
            self.failure = error if isinstance(error, Exception) else lost(error)
            self._loop.call_soon_threadsafe(self._on_failure, self.failure)


@dataclass
class Served:
    """A server that runs. engine: to look at its queues between requests."""

    address: str
    engine: EngineCore
    executor: ScriptedExecutor
    server: GracefulServer
    thread: threading.Thread

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=WAIT_S)

    def send(self, path: str, body: Any) -> http.client.HTTPResponse:
        """The response, of which the caller reads the body. body: JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connect()
        connection.request("POST", path, data, {"content-type": "application/json"})
        return connection.getresponse()

    def post(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        response = self.send(path, body)
        return response.status, json.loads(response.read())

    def get(self, path: str) -> tuple[int, str]:
        connection = self.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def events(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """All events of a stream, without the last, which must be [DONE]."""
        response = self.send(path, {**body, "stream": True})
        assert response.status == 200, response.read()
        read = list(events_of(response))
        assert read.pop() == "[DONE]"
        return [json.loads(one) for one in read]


def events_of(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each server-sent event."""
    for line in response:
        if line.strip():
            assert line.startswith(b"data: "), line
            yield line[6:].decode().strip()


@contextmanager
def served(
    executor: ScriptedExecutor | None = None,
    *,
    kv_tokens: int = 1024,
    max_model_len: int = 512,
    max_waiting: int | None = None,
    render: Render | None = None,
    grace_s: float = WAIT_S,
    prefix_cache: bool = False,
    observers: Sequence[Observer] = (),
    tokenizer: Tokenizer | None = None,
) -> Iterator[Served]:
    executor = executor or ScriptedExecutor()
    strategy = Strategy(
        UnifiedBatching(),
        OptimisticAdmission(),
        PagedKVCache(kv_tokens // 16, 16, prefix_cache=prefix_cache),
        Limits(max_num_seqs=SEQUENCES, max_num_batched_tokens=512, max_model_len=max_model_len),
    )
    clock, tokenizer = WallClock(), tokenizer or ByteTokenizer()
    engine = EngineCore(strategy, executor, clock, (EOS,), tokenizer.decode)
    prompts = Prompts(tokenizer, tokenizer.vocab_size, render)
    offer = Offer("scripted", max_model_len, SEQUENCES, max_waiting)
    service = service_over(
        EngineThread(engine, clock),
        clock,
        prompts,
        offer,
        observers=observers,
        prefix_cache=prefix_cache,
    )
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = GracefulServer(service, grace_s, ready.set)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
        )
        thread.start()
        assert ready.wait(WAIT_S)
        try:
            yield Served(url(listener), engine, executor, server, thread)
        finally:
            executor.held = False
            executor.go.release(1000)
            server.should_exit = True
            thread.join(WAIT_S)
    assert not thread.is_alive(), "the server did not stop"
