"""vLLM's engine, where the library is installed: stepped here, with no HTTP in between."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ...engines.api import FinishReason, Request, SamplingParams, StepOutcome, TokenEvent
from ...engines.clock import Clock
from ...engines.errors import ConfigError
from .events import line_of, token_events
from .installed import not_installed

_FINISHES = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class VllmEngine:
    """`vllm.LLMEngine` as an `engines.api.Engine`.

    Tokens have the time at which the step that returned them ended; a step that gives a request
    several gives them one time. `longest_step_s`: so long may a request have waited to be handed
    over. Tried with vLLM 0.32 for a CPU, which refuses several samples of
    one prompt under greedy decoding.
    """

    def __init__(self, model: str, clock: Clock, **settings: Any) -> None:
        """model: a directory, or a hub id. settings: of `vllm.LLM`, such as dtype and max_num_seqs.

        Raises ConfigError where vLLM is not installed or does not take the model.
        """
        # The engine in this process, so that a step is a step.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            if error.name != "vllm":
                raise
            raise not_installed("vllm") from error
        self._library = vllm
        self._refusals = _refusals(vllm)
        self._clock = clock
        self.longest_step_s = 0.0
        self.version = str(vllm.__version__)
        try:
            self._engine: Any = vllm.LLM(model, disable_log_stats=True, **settings).llm_engine
        except (ValueError, OSError) as error:
            raise ConfigError("model", model, f"what vLLM takes: {line_of(error)}") from error

    def add(self, request: Request) -> None:
        prompt = {"prompt_token_ids": list(request.prompt_token_ids)}
        try:
            self._engine.add_request(
                request.request_id,
                prompt,
                self._sampling(request.sampling),
                priority=request.priority,
            )
        except self._refusals as error:
            allowed = f"what vLLM takes: {line_of(error)}"
            raise ConfigError("prompt", request.request_id, allowed) from error

    def abort(self, request_id: str) -> None:
        self._engine.abort_request([request_id])

    def forget(self) -> None:
        if not self._engine.reset_prefix_cache():
            raise RuntimeError("vLLM kept its prefix cache, though no request is running")
        self.longest_step_s = 0.0

    def has_work(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def step(self) -> StepOutcome:
        began_s = self._clock.now()
        outputs = self._engine.step()
        now_s = self._clock.now()
        self.longest_step_s = max(self.longest_step_s, now_s - began_s)
        return StepOutcome(tuple(_events(outputs, now_s)), None)

    def close(self) -> None:
        # Model and cache go with it.
        self._engine = None

    def _sampling(self, sampling: SamplingParams) -> Any:
        if sampling.logprobs is not None:
            raise ConfigError("logprobs", sampling.logprobs, "None: vLLM's are not read")
        kinds = self._library.sampling_params.RequestOutputKind
        return self._library.SamplingParams(
            **_same(sampling),
            seed=sampling.seed if sampling.temperature else None,
            stop=list(sampling.stop) or None,
            stop_token_ids=list(sampling.stop_token_ids) or None,
            detokenize=bool(sampling.stop),
            output_kind=kinds.DELTA,
        )


def _refusals(library: Any) -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it does not take; later versions have a class of it."""
    later = getattr(getattr(library, "exceptions", None), "VLLMClientError", ValueError)
    return (ValueError, later)


def _same(sampling: SamplingParams) -> Mapping[str, Any]:
    """The settings that have one name and one meaning in both."""
    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "n", "ignore_eos")
    penalties = ("repetition_penalty", "presence_penalty", "frequency_penalty")
    return {name: getattr(sampling, name) for name in (*names, *penalties)}


def _events(outputs: Iterable[Any], now_s: float) -> Iterable[TokenEvent]:
    """outputs: `vllm.RequestOutput`s that hold what is new."""
    for output in outputs:
        for sample in output.outputs:
            finish = None
            if sample.finish_reason is not None:
                finish = _FINISHES.get(sample.finish_reason, FinishReason.ERROR)
            detail = "" if finish is not FinishReason.ERROR else f"vLLM: {sample.finish_reason}"
            yield from token_events(
                output.request_id, sample.token_ids, now_s, finish, detail, sample.index
            )
