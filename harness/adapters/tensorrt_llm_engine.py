"""TensorRT-LLM's engine, where the library is installed: it steps by itself, and is listened to."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from ...engines.api import FinishReason, Request, SamplingParams, StepOutcome, TokenEvent
from ...engines.clock import Clock
from ...engines.errors import ConfigError
from .events import line_of, token_events
from .installed import not_installed

_FINISHES = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
# A request that is due is handed over so much later at most.
LONGEST_WAIT_S = 0.002
# A worker process that dies wakes nobody who waits for it.
SILENCE_S = 600.0


@dataclass(eq=False)
class _Reply:
    """One that is on its way. output: the library's `RequestOutput`. task: reads it."""

    request_id: str
    output: Any
    task: asyncio.Task[None] | None = None


class TensorRtLlmEngine:
    """`tensorrt_llm.LLM` as an `engines.api.Engine`.

    The library computes in a process of its own. It gives every response to the event loop that ran
    when the request came, and only while that loop runs: so one runs here in a thread. A token has
    the time at which its response reached that thread; those of one response have one time.
    `longest_step_s`: so long may a request have waited to be handed over.

    Written against the sources of 1.2 (SamplingParams of 1.2.0rc2; llm.py, executor/result.py,
    executor.py and proxy.py of its development) and held against llm.py of main and the reference
    of 1.4.0rc1. It has not run against the package. What it stands on:

    - `LLM(model, dtype=, max_seq_len=, max_batch_size=)`, the rest being its defaults: paged cache
      with reuse of blocks, GUARANTEED_NO_EVICT, prompts of max_num_tokens (8192) at most.
    - `generate_async({"prompt_token_ids": ids}, sampling, streaming=True)` returns a RequestOutput.
      Iterated, it yields itself; `outputs[0].token_ids` is all so far, `finished` the end.
    - An error of one request is raised by the iteration (RequestError), or told in `error` (1.4).
    - `finish_reason` is `stop`, `length`, `timeout` or `cancelled`.
    - `ignore_eos` becomes an end id of -1. Without temperature, top_k and top_p, and with a top_k
      of 1, sampling is greedy.
    """

    def __init__(
        self, model: str, clock: Clock, *, silence_s: float = SILENCE_S, **settings: Any
    ) -> None:
        """model: a directory, or a hub id. silence_s: no response for so long ends what is on its
        way. settings: of `tensorrt_llm.LLM`, such as dtype and max_batch_size.

        Raises ConfigError where TensorRT-LLM is not installed or does not take the model.
        """
        self._library = _imported()
        self._clock = clock
        self._silence_s = silence_s
        self._heard_s = monotonic()
        self._start = lambda: self._library.LLM(model=model, **settings)
        self._live: dict[str, _Reply] = {}
        self._arrived: SimpleQueue[tuple[_Reply, TokenEvent]] = SimpleQueue()
        self.longest_step_s = 0.0
        self.version = str(self._library.__version__)
        try:
            # Its banners would stand between a reader of our standard output and the result.
            with redirect_stdout(sys.stderr):
                self._llm = self._start()
        except (ValueError, OSError, RuntimeError) as error:
            raise ConfigError(
                "model", model, f"what TensorRT-LLM takes: {line_of(error)}"
            ) from error
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, request: Request) -> None:
        _check(request, self._live)
        if not self._live:
            self._heard_s = monotonic()
        try:
            sampling = self._sampling(request.sampling)
            reply = asyncio.run_coroutine_threadsafe(
                self._begin(request, sampling), self._loop
            ).result()
        except (ValueError, TypeError) as error:
            allowed = f"what TensorRT-LLM takes: {line_of(error)}"
            raise ConfigError("prompt", request.request_id, allowed) from error
        self._live[request.request_id] = reply

    def abort(self, request_id: str) -> None:
        if (reply := self._live.pop(request_id, None)) is not None:
            asyncio.run_coroutine_threadsafe(self._take_back(reply), self._loop).result()

    def has_work(self) -> bool:
        return bool(self._live)

    def step(self) -> StepOutcome:
        """What has come since the last; waits a moment where that is nothing."""
        began_s = self._clock.now()
        events = [event for reply, event in self._take() if self._is_wanted(reply, event)]
        if not events and self._live and monotonic() - self._heard_s > self._silence_s:
            events = self._give_up()
        self.longest_step_s = max(self.longest_step_s, self._clock.now() - began_s)
        return StepOutcome(tuple(events), None)

    def forget(self) -> None:
        """Nothing in what was read drops cached blocks of an engine that runs: another is made."""
        self._llm.shutdown()
        with redirect_stdout(sys.stderr):
            self._llm = self._start()
        self.longest_step_s = 0.0

    def close(self) -> None:
        for name in tuple(self._live):
            self.abort(name)
        self._llm.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # In the thread of the caller.
    def _take(self) -> list[tuple[_Reply, TokenEvent]]:
        taken = []
        with suppress(Empty):
            taken.append(self._arrived.get(timeout=LONGEST_WAIT_S))
            self._heard_s = monotonic()
            while True:
                taken.append(self._arrived.get_nowait())
        return taken

    def _is_wanted(self, reply: _Reply, event: TokenEvent) -> bool:
        """Not of a request that was taken back, whose name another may have by now."""
        if self._live.get(reply.request_id) is not reply:
            return False
        if event.finish is not None:
            del self._live[reply.request_id]
        return True

    def _give_up(self) -> list[TokenEvent]:
        now_s, detail = self._clock.now(), f"TensorRT-LLM: nothing for {self._silence_s:g} s"
        names = tuple(self._live)
        for name in names:
            self.abort(name)
        return [TokenEvent(name, None, now_s, FinishReason.ERROR, detail) for name in names]

    def _sampling(self, sampling: SamplingParams) -> Any:
        asked: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "ignore_eos": sampling.ignore_eos,
            "stop": list(sampling.stop) or None,
            "stop_token_ids": list(sampling.stop_token_ids) or None,
            "detokenize": bool(sampling.stop),
        }
        if sampling.temperature:
            asked |= {"temperature": sampling.temperature, "seed": sampling.seed}
            # 0 is all of them in both.
            asked |= {"top_k": sampling.top_k, "top_p": sampling.top_p}
            asked |= {"min_p": sampling.min_p} if sampling.min_p else {}
        else:
            asked["top_k"] = 1
        for name, none in (
            ("repetition_penalty", 1.0),
            ("presence_penalty", 0.0),
            ("frequency_penalty", 0.0),
        ):
            if (value := getattr(sampling, name)) != none:
                asked[name] = value
        return self._library.SamplingParams(**asked)

    # In the thread of the loop.
    async def _begin(self, request: Request, sampling: Any) -> _Reply:
        prompt = {"prompt_token_ids": [int(token) for token in request.prompt_token_ids]}
        reply = _Reply(request.request_id, None)
        try:
            reply.output = self._llm.generate_async(prompt, sampling, streaming=True)
        except RuntimeError as error:
            self._fail(reply, line_of(error))  # its worker refuses it, or is gone
        else:
            reply.task = asyncio.create_task(self._read(reply))
        return reply

    async def _read(self, reply: _Reply) -> None:
        seen = 0
        try:
            async for output in reply.output:
                now_s = self._clock.now()
                sample = output.outputs[0]
                token_ids = sample.token_ids
                finish, detail = _finish(output, sample) if output.finished else (None, "")
                self._tell(
                    reply, token_events(reply.request_id, token_ids[seen:], now_s, finish, detail)
                )
                if finish is not None:
                    return
                seen = max(seen, len(token_ids))
            self._fail(reply, "the stream ended without a finish")
        except Exception as error:  # noqa: BLE001 -- whatever it is ends this request, and no other
            self._fail(reply, line_of(error))

    def _fail(self, reply: _Reply, why: str) -> None:
        event = TokenEvent(
            reply.request_id, None, self._clock.now(), FinishReason.ERROR, f"TensorRT-LLM: {why}"
        )
        self._tell(reply, (event,))

    def _tell(self, reply: _Reply, events: Iterable[TokenEvent]) -> None:
        for event in events:
            self._arrived.put((reply, event))

    async def _take_back(self, reply: _Reply) -> None:
        if reply.task is None or reply.task.done():
            return
        reply.task.cancel()
        # It is over in the library before it is here.
        reply.output.abort()


def _imported() -> Any:
    try:
        with redirect_stdout(sys.stderr):
            import tensorrt_llm  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "tensorrt_llm":
            raise not_installed("tensorrt_llm") from error
        allowed = f"a TensorRT-LLM that can be imported: {line_of(error)}"
        raise ConfigError("target", "tensorrt_llm", allowed) from error
    return tensorrt_llm


def _check(request: Request, held: dict[str, _Reply]) -> None:
    """What the library has no word for, or another. Raises ConfigError."""
    sampling = request.sampling
    if request.request_id in held:
        raise ConfigError("request_id", request.request_id, "one that is not held")
    if not request.prompt_token_ids:
        raise ConfigError("prompt", request.request_id, "at least one token")
    if sampling.logprobs is not None:
        raise ConfigError("logprobs", sampling.logprobs, "None: TensorRT-LLM's are not read")
    if sampling.n != 1:
        allowed = "1: of several samples TensorRT-LLM tells only when the last of them ends"
        raise ConfigError("samples", sampling.n, allowed)
    if request.priority:
        raise ConfigError("priority", request.priority, "0: before 1.3 TensorRT-LLM has none")


def _finish(output: Any, sample: Any) -> tuple[FinishReason, str]:
    """output, sample: a finished `RequestOutput` and its `CompletionOutput`."""
    finish = _FINISHES.get(sample.finish_reason)
    if finish is not None:
        return finish, ""
    # Releases before 1.4 raise instead and have no such field.
    why = getattr(output, "error", None) or sample.finish_reason or "ended without a reason"
    return FinishReason.ERROR, f"TensorRT-LLM: {why}"
