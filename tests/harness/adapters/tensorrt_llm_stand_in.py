"""As much of the package `tensorrt_llm` as is used, with the names, signatures and rules of its
sources (NVIDIA/TensorRT-LLM, 1.2: llmapi/llm.py, llmapi/utils.py, sampling_params.py,
executor/result.py), and replies of known truth.

A thread computes, as the library's worker process does, and a response wakes its reader only
through an event loop that runs at that moment.
"""

# ruff: noqa: ARG002 -- the signatures are the library's

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar


class RequestError(RuntimeError):
    """Of one request; the others go on."""


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """The fields that an adapter may set; every other name is refused, as there."""

    end_id: int | None = None
    max_tokens: int = 32
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    n: int = 1
    best_of: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    min_p: float | None = None
    logprobs: int | None = None
    return_perf_metrics: bool = False
    ignore_eos: bool = False
    detokenize: bool = True
    add_special_tokens: bool = True

    def __post_init__(self) -> None:
        self.best_of = self.best_of or self.n
        if self.top_p is not None and not 0 <= self.top_p <= 1:
            raise ValueError(f"require 0 <= top_p <= 1, got top_p={self.top_p}")
        if self.best_of > 1 and self.is_greedy:
            raise ValueError("Greedy decoding in the LLM API does not allow multiple returns.")

    @property
    def is_greedy(self) -> bool:
        nothing = self.temperature is None and self.top_p is None and self.top_k is None
        return nothing or self.top_k == 1 or self.top_p == 0.0 or self.temperature == 0


@dataclass
class CompletionOutput:
    """token_ids: all of them so far."""

    index: int
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass(frozen=True)
class Response:
    """new: the tokens that it adds. finish: ends the request. error: raised where it is read.
    told: ends it, too, and is in the field `error` that releases from 1.4 have."""

    new: tuple[int, ...] = ()
    finish: str | None = None
    error: Exception | None = None
    told: str | None = None


class RequestOutput:
    """Iterated, it yields itself after each response."""

    def __init__(self, llm: LLM, name: int, prompt_token_ids: list[int]) -> None:
        self.request_id = name
        self.prompt_token_ids = prompt_token_ids
        self.outputs = [CompletionOutput(0)]
        self.finished = False
        self.error: str | None = None
        self._llm = llm
        self._loop = asyncio.get_running_loop()
        self._responses: deque[Response] = deque()
        self._came = asyncio.Event()

    def put(self, response: Response) -> None:
        """From the worker's thread. A loop that runs wakes whoever waits; another never does."""
        self._responses.append(response)
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._came.set)
        else:
            self._llm.unheard += 1

    def abort(self) -> None:
        self._llm.aborted.append(self.request_id)

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        while not self._responses:
            await self._came.wait()
            self._came.clear()
        response = self._responses.popleft()
        if response.error is not None:
            raise response.error
        self.outputs[0].token_ids.extend(response.new)
        self.outputs[0].finish_reason = response.finish
        self.error = response.told
        self.finished = response.finish is not None or response.told is not None
        return self


Script = Callable[[SamplingParams], Sequence[Response]]


def steady(sampling: SamplingParams) -> list[Response]:
    """A token a response, from 100 on, to the length that was asked for."""
    *most, last = range(100, 100 + sampling.max_tokens)
    return [*(Response((one,)) for one in most), Response((last,), "length")]


class LLM:
    """scripts: what becomes of a prompt that begins with such a token; others are `steady`."""

    scripts: ClassVar[dict[int, Script]] = {}

    def __init__(
        self,
        model: str,
        tokenizer: str | None = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        **kwargs: Any,
    ) -> None:
        for key in kwargs:
            if key not in ("max_batch_size", "max_num_tokens", "max_seq_len", "kv_cache_config"):
                raise ValueError(f"LLM got invalid argument: {key}")
        self.settings = {"model": model, "dtype": dtype, **kwargs}
        self.asked: list[tuple[list[int], SamplingParams]] = []
        self.aborted: list[int] = []
        self.unheard = 0
        self.is_shut_down = False
        self._waiting: deque[tuple[RequestOutput, Sequence[Response]]] = deque()
        self._work = threading.Event()
        self._worker = threading.Thread(target=self._compute, daemon=True)
        self._worker.start()

    def generate_async(
        self,
        inputs: dict[str, Any],
        sampling_params: SamplingParams | None = None,
        lora_request: object = None,
        prompt_adapter_request: object = None,
        streaming: bool = False,
    ) -> RequestOutput:
        if self.is_shut_down:
            raise RuntimeError("LLM is shutting down")
        prompt = inputs["prompt_token_ids"]
        assert isinstance(prompt, list)
        assert isinstance(prompt[0], int)
        assert sampling_params is not None
        assert streaming
        if len(prompt) > 64:
            raise ValueError("The sum of prompt length (65), query length (0) should not exceed 64")
        self.asked.append((prompt, sampling_params))
        output = RequestOutput(self, len(self.asked), prompt)
        self._waiting.append((output, self.scripts.get(prompt[0], steady)(sampling_params)))
        self._work.set()
        return output

    def shutdown(self) -> None:
        self.is_shut_down = True
        self._work.set()
        self._worker.join(10)

    def _compute(self) -> None:
        """Steps of all that run: each of them gets its next response."""
        running: list[tuple[RequestOutput, deque[Response]]] = []
        while not self.is_shut_down:
            while self._waiting:
                output, responses = self._waiting.popleft()
                running.append((output, deque(responses)))
            if not running:
                self._work.wait(0.05)
                self._work.clear()
            for output, responses in tuple(running):
                if not responses or output.request_id in self.aborted:
                    running.remove((output, responses))
                else:
                    output.put(responses.popleft())


def package() -> ModuleType:
    """A module to stand in `sys.modules`; importing the true one prints a banner, too."""
    library: Any = ModuleType("tensorrt_llm")
    library.__version__ = "1.2.0"
    library.LLM = type("LLM", (LLM,), {"scripts": {}})
    library.SamplingParams = SamplingParams
    return library
