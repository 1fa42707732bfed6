"""Engines on one model that take turns, step by step, at the same cases.

Timed one after the other, the engine that met the faster machine would win: a shared machine's
bandwidth changes by a factor of two within seconds. In turns each has its share of every moment,
A B B A: after a disturbance steps become faster one by one, and who always came second would gain.
Engines that prepare a step while another runs, as on a GPU, take turns by the case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ...engines.cost.floor import Products
from ...engines.cost.work import ModelWork, model_work
from ...engines.errors import ConfigError, ModelError
from ...engines.resolved import ResolvedEngine
from ...engines.trace import StepTrace
from ..machine.counted_model import as_it_runs
from ..machine.product_dtypes import product_dtypes
from ..run.collection import without_collection
from .cases import (
    DECODE_STEPS,
    UNCOUNTED_STEPS,
    Case,
    Serving,
    Sized,
    random_prompts,
    steps_together,
)
from .device_kernels import KernelTime, Record, kernels_of

if TYPE_CHECKING:
    from ...engines.cost.weights import WeightChoice
    from ...engines.models.catalogue import ModelFiles
    from ...engines.models.config import ModelConfig

PREFILL_REPEATS = 3


class Side:
    """One of the engines that take turns."""

    def __init__(self, files: ModelFiles, resolved: ResolvedEngine) -> None:
        self.files = files
        self.resolved = resolved
        self.shape = _native_shape(files.directory, resolved)
        self.weights = _weights(files, resolved)
        self.products = _products(files, resolved, self.weights)

    def load(self, report: Callable[[str], None]) -> None:
        from ...engines.assemble import load_model

        self.loaded = load_model(self.files, self.resolved, report)

    def longest_tokens(self, case: Case) -> int:
        """Of prompt and output."""
        return case.longest_tokens_in(max(self.resolved.max_num_batched_tokens, case.sequences))

    def core(self, case: Case) -> Sized:
        from ...engines.assemble import build_engine
        from ...engines.clock import WallClock

        longest_tokens = self.longest_tokens(case)
        sized = replace(
            self.resolved,
            max_model_len=longest_tokens,
            max_num_seqs=case.sequences,
            max_num_batched_tokens=max(self.resolved.max_num_batched_tokens, case.sequences),
            kv_memory_bytes=self._kv_memory_bytes(case),
        )
        return Sized(build_engine(self.loaded, sized, WallClock()), longest_tokens)

    def _kv_memory_bytes(self, case: Case) -> int:
        """On a GPU no more than twice what the case needs: by default an engine takes nearly all
        that there is, and the others are to fit beside it."""
        asked = self.resolved.kv_memory_bytes
        if not self.resolved.device.startswith("cuda"):
            return asked
        engine = self.resolved
        each = self.loaded.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
        tokens = case.sequences * (self.longest_tokens(case) + 2 * engine.block_size)
        return min(asked, 2 * tokens * each)

    def work(self) -> ModelWork:
        work = model_work(
            self.shape,
            self.weights,
            kv_dtype=self.resolved.kv_dtype,
        )
        return as_it_runs(work, self.loaded.model)


@dataclass(frozen=True)
class Timed:
    """traces: of each repeat, its steps: one decode step, or all steps of a prompt. kernels: of the
    device, where they were asked for; of repeats that are not among these."""

    case: Case
    traces: tuple[tuple[StepTrace, ...], ...]
    kernels: tuple[KernelTime, ...] = ()

    @property
    def durations_s(self) -> list[float]:
        return [sum(one.end_s - one.start_s for one in traces) for traces in self.traces]


def time_by_turns(
    case: Case, sides: Sequence[Side], seed: int, record: Record | None = None
) -> list[Timed]:
    """One case on all of the engines by turns, a timing of each. record: then asks for the kernels
    of each, too."""
    prompts = random_prompts(case, sides[0].loaded.config.vocab_size, seed)
    cores = [side.core(case) for side in sides]
    if case.phase == "decode":
        # A step that is prepared while another runs counts from that one's end: it would count the
        # other engines' turns, too.
        apart = any(side.resolved.async_scheduling for side in sides)
        timed = _decodes(case, cores, next(prompts), apart)
    else:
        timed = _prefills(case, cores, list(islice(prompts, PREFILL_REPEATS + 1)))
    if record is None:
        return timed
    return [
        replace(one, kernels=kernels_of(core, case, next(prompts), record))
        for one, core in zip(timed, cores, strict=True)
    ]


def _decodes(
    case: Case, cores: Sequence[Sized], asked: Sequence[tuple[int, ...]], apart: bool
) -> list[Timed]:
    if apart:
        served = [_serve([core], case, asked)[0] for core in cores]
    else:
        served = _serve(cores, case, asked)
    return [
        Timed(case, tuple((trace,) for trace in _decode_steps(traces, case))) for traces in served
    ]


def _prefills(
    case: Case, cores: Sequence[Sized], prompts: Sequence[list[tuple[int, ...]]]
) -> list[Timed]:
    """The first prompt is not counted."""
    served: list[list[tuple[StepTrace, ...]]] = [[] for _ in cores]
    order = list(range(len(cores)))
    for asked in prompts:
        for at in order:
            served[at].append(tuple(_serve([cores[at]], case, asked)[0]))
        order.reverse()
    return [Timed(case, tuple(repeats[1:])) for repeats in served]


def _decode_steps(traces: Sequence[StepTrace], case: Case) -> Sequence[StepTrace]:
    """The steps in which all sequences decode, the first few left out. Raises ConfigError where
    they are fewer than are counted."""
    together, wanted = steps_together(traces, case), UNCOUNTED_STEPS + DECODE_STEPS
    if len(together) < wanted:
        allowed = (
            f"sequences that decode together for {wanted} steps, as their keys and values "
            "(--kv-memory) and the tokens of a step (--max-num-batched-tokens) let them; these did "
            f"for {len(together)}"
        )
        raise ConfigError("batch", case.sequences, allowed)
    return together[UNCOUNTED_STEPS:wanted]


def _serve(
    cores: Sequence[Sized], case: Case, prompts: Sequence[tuple[int, ...]]
) -> list[list[StepTrace]]:
    """Every step of these requests on each of the engines, which take turns by the step."""
    servings = [Serving(core, case, prompts) for core in cores]
    order = list(servings)
    with without_collection():
        while any(one.has_work for one in order):
            for one in order:
                if one.has_work:
                    one.step()
            order.reverse()
    return [one.traces for one in servings]


def _native_shape(directory: Path, engine: ResolvedEngine) -> ModelConfig:
    """The model's shape in the engine's dtype."""
    from ...engines.models.describe import describe_model

    native = describe_model(directory, engine.model_impl).native
    if native is None:
        raise ModelError(
            "model", str(directory), "runs through transformers: its work is not counted"
        )
    return replace(native, dtype=engine.dtype)


def _weights(files: ModelFiles, engine: ResolvedEngine) -> WeightChoice:
    from ...engines.quantization.auto import weights_of

    return weights_of(engine, files.directory)


def _products(files: ModelFiles, engine: ResolvedEngine, weights: WeightChoice) -> Products[str]:
    """As `find_rates` takes them."""
    from ...engines.assemble import emulated_by, kernels_of

    emulated = emulated_by(kernels_of(engine, files), {})
    return product_dtypes(engine, weights, emulated=bool(emulated))
