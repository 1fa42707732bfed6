"""Engines on one model that take turns, step by step, at the same cases.

Timed one after the other, the engine that met the faster machine would win: a shared machine's
bandwidth changes by a factor of two within seconds. In turns each has its share of every moment.
Engines that prepare a step while another runs, as on a GPU, take turns by the case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...engines.api import Engine, FinishReason, Request, SamplingParams
from ...engines.cost.floor import Products
from ...engines.cost.weights import WeightChoice
from ...engines.cost.work import ModelWork, model_work
from ...engines.errors import ConfigError, ModelError
from ...engines.resolved import ResolvedEngine
from ...engines.trace import StepTrace
from ..machine.product_dtypes import product_dtypes
from ..run.collection import without_collection

if TYPE_CHECKING:
    from ...engines.models.catalogue import ModelFiles
    from ...engines.models.config import ModelConfig

CONTEXT_TOKENS = 128
DECODE_STEPS = 24
PREFILL_REPEATS = 3
_UNCOUNTED_STEPS = 2


@dataclass(frozen=True)
class Case:
    """phase: decode, `sequences` of them with a context of `tokens`; or prefill of a prompt of
    `tokens`."""

    phase: str
    sequences: int
    tokens: int

    @property
    def name(self) -> str:
        decode = self.phase == "decode"
        return f"decode x {self.sequences}" if decode else f"prefill {self.tokens}"

    @property
    def longest_tokens(self) -> int:
        """Prompt and output of one request."""
        return self.tokens + (DECODE_STEPS + _UNCOUNTED_STEPS + 2 if self.phase == "decode" else 1)


class Side:
    """One of the engines that take turns."""

    def __init__(self, files: ModelFiles, resolved: ResolvedEngine) -> None:
        self.files = files
        self.resolved = resolved
        self.shape = _native_shape(files.directory, resolved)
        self.products = _products(files, resolved)

    def load(self, report: Callable[[str], None]) -> None:
        from ...engines.assemble import load_model

        self.loaded = load_model(self.files, self.resolved, report)

    def core(self, case: Case) -> Engine:
        """An engine that is just large enough for the case."""
        from ...engines.assemble import build_engine
        from ...engines.clock import WallClock

        sized = replace(
            self.resolved,
            max_model_len=case.longest_tokens,
            max_num_seqs=case.sequences,
            max_num_batched_tokens=max(self.resolved.max_num_batched_tokens, case.sequences),
            kv_memory_bytes=self._kv_memory_bytes(case),
        )
        return build_engine(self.loaded, sized, WallClock())

    def _kv_memory_bytes(self, case: Case) -> int:
        """On a GPU no more than twice what the case needs: by default an engine takes nearly all
        that there is, and the others are to fit beside it."""
        asked = self.resolved.kv_memory_bytes
        if not self.resolved.device.startswith("cuda"):
            return asked
        engine = self.resolved
        each = self.loaded.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
        tokens = case.sequences * (case.longest_tokens + 2 * engine.block_size)
        return min(asked, 2 * tokens * each)

    def work(self) -> ModelWork:
        return model_work(
            self.shape,
            WeightChoice.of(self.resolved),
            kv_dtype=self.resolved.kv_dtype,
        )


@dataclass(frozen=True)
class Timed:
    """traces: of each repeat, its steps: one decode step, or all steps of a prompt."""

    case: Case
    traces: tuple[tuple[StepTrace, ...], ...]

    @property
    def durations_s(self) -> list[float]:
        return [sum(one.end_s - one.start_s for one in traces) for traces in self.traces]


def time_by_turns(case: Case, sides: Sequence[Side], seed: int) -> list[Timed]:
    """One case on all of the engines by turns, a timing of each."""
    prompts = _prompts(case, sides[0].loaded.config.vocab_size, seed)
    cores = [side.core(case) for side in sides]
    if case.phase == "decode":
        asked = next(prompts)
        if any(side.resolved.async_scheduling for side in sides):
            # A step that is prepared while another runs counts from that one's end: it would count
            # the other engines' turns, too.
            served = [_serve([core], case, asked)[0] for core in cores]
        else:
            served = _serve(cores, case, asked)
        return [
            Timed(case, tuple((trace,) for trace in _decode_steps(traces, case)))
            for traces in served
        ]
    repeats = [
        [_serve([core], case, asked)[0] for core in cores]
        for asked in islice(prompts, PREFILL_REPEATS + 1)
    ]
    return [
        Timed(case, tuple(tuple(repeat[at]) for repeat in repeats[1:])) for at in range(len(sides))
    ]


def _decode_steps(traces: Sequence[StepTrace], case: Case) -> Sequence[StepTrace]:
    """The steps in which all sequences decode and no prompt is computed, the first few left out."""
    together = [
        trace
        for trace in traces
        if not trace.prefill_tokens and trace.decode_tokens == case.sequences
    ]
    if len(together) <= _UNCOUNTED_STEPS:
        allowed = "what the KV cache has room for at a time (see --kv-memory)"
        raise ConfigError("batch", case.sequences, allowed)
    return together[_UNCOUNTED_STEPS:][:DECODE_STEPS]


def _serve(
    cores: Sequence[Engine], case: Case, prompts: Sequence[tuple[int, ...]]
) -> list[list[StepTrace]]:
    """Every step of these requests on each of the engines, which take turns by the step."""
    sampling = SamplingParams(max_tokens=case.longest_tokens - case.tokens, ignore_eos=True)
    for core in cores:
        for index, prompt in enumerate(prompts):
            core.add(Request(str(index), prompt, sampling))
    traces: list[list[StepTrace]] = [[] for _ in cores]
    with without_collection():
        while any(core.has_work() for core in cores):
            for core, own in zip(cores, traces, strict=True):
                if core.has_work():
                    own.extend(_step(core, case))
    return traces


def _step(core: Engine, case: Case) -> list[StepTrace]:
    outcome = core.step()
    for event in outcome.events:
        if event.finish is FinishReason.REFUSED:
            raise ConfigError("prompt", f"{case.tokens} tokens", event.detail)
        if event.finish is FinishReason.ERROR:
            raise RuntimeError(event.detail)
    return [] if outcome.trace is None else [outcome.trace]


def _prompts(case: Case, vocab_size: int, seed: int) -> Iterator[list[tuple[int, ...]]]:
    """Random tokens, new ones each time, so that no prefix cache helps."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = rng.integers(vocab_size, size=(case.sequences, case.tokens))
        yield [tuple(row) for row in drawn.tolist()]


def _native_shape(directory: Path, engine: ResolvedEngine) -> ModelConfig:
    """The model's shape in the engine's dtype."""
    from ...engines.models.describe import describe_model

    native = describe_model(directory, engine.model_impl).native
    if native is None:
        raise ModelError(
            "model", str(directory), "runs through transformers: its work is not counted"
        )
    return replace(native, dtype=engine.dtype)


def _products(files: ModelFiles, engine: ResolvedEngine) -> Products[str]:
    """As `find_rates` takes them."""
    from ...engines.assemble import emulated_by, kernels_of

    emulated = emulated_by(kernels_of(engine, files), {})
    return product_dtypes(engine, emulated=bool(emulated))
