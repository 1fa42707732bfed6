"""The roofline held against throughput that somebody else measured (`published_figures.py`).

Model: a steady state. As many requests run as fit in KV memory reserved to completion; contexts
enter as others leave, so an average step holds `batch` decodes whose mean context is the input and
half of the output, and the context tokens of batch / output new requests. Ramp, drain and waves of
equal lengths are left out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..models.config import ModelConfig
from .hardware import resolve_hardware
from .published_figures import (
    FREE_MEMORY_FRACTION,
    H100_LLAMA_31_8B_FP8,
    H100_LLAMA_33_70B_FP8_TP2,
    H100_MORE,
    H200_LLAMA_31_8B_FP8,
    MAX_BATCH_SIZE,
    PublishedRow,
)
from .roofline import Efficiency, Roofline, kv_capacity_tokens
from .shapes import resolve_shape
from .weights import WeightChoice
from .work import StepWork


@functools.cache
def _shape(name: str) -> ModelConfig:
    """Read once: a fit asks for it thousands of times."""
    return resolve_shape(name)


@dataclass(frozen=True)
class Setup:
    """What a column of the overview was measured on; weights and KV in FP8, with one scale for the
    keys or values of a layer, as TensorRT-LLM has it."""

    hardware: str
    model: str
    tensor_parallel: int = 1

    def roofline(self, efficiency: Efficiency) -> Roofline:
        return Roofline(
            resolve_hardware(self.hardware),
            _shape(self.model),
            WeightChoice("fp8"),
            tensor_parallel=self.tensor_parallel,
            kv_dtype="fp8",
            kv_scale_bytes=0,
            efficiency=efficiency,
        )

    def capacity_tokens(self) -> int:
        return kv_capacity_tokens(
            resolve_hardware(self.hardware),
            _shape(self.model),
            WeightChoice("fp8"),
            tensor_parallel=self.tensor_parallel,
            kv_dtype="fp8",
            kv_scale_bytes=0,
            free_memory_fraction=FREE_MEMORY_FRACTION,
        )


H100_8B = Setup("h100", "llama-3.1-8b")
H200_8B = Setup("h200", "llama-3.1-8b")
H100_70B = Setup("h100", "llama-3.1-70b", tensor_parallel=2)


@dataclass(frozen=True)
class Prediction:
    """A row beside what the roofline says. batch: requests running in the steady state."""

    row: PublishedRow
    batch: int
    predicted_tokens_per_s: float
    fitted: bool

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_tokens_per_s / self.row.tokens_per_s - 1


def running_requests(setup: Setup, row: PublishedRow) -> int:
    """What fits in KV memory reserved to completion, in blocks of 32, up to MAX_BATCH_SIZE."""
    reserved = 32 * math.ceil((row.input_tokens + row.output_tokens) / 32)
    return min(setup.capacity_tokens() // reserved, MAX_BATCH_SIZE)


def steady_throughput(roofline: Roofline, batch: int, row: PublishedRow) -> float:
    """Output tokens a second with `batch` requests always running."""
    work = steady_work(batch, row)
    return work.sampled_rows / roofline.price(work).total_s


def steady_work(batch: int, row: PublishedRow) -> StepWork:
    """Of an average step."""
    # A request decodes output - 1 steps; its first token comes from its context.
    decode_steps = max(1, row.output_tokens - 1)
    entering = batch / decode_steps
    # The steps attend input + 1, input + 2, … input + output - 1 keys, each its own among them.
    context = row.input_tokens + row.output_tokens / 2
    prompt = row.input_tokens
    return StepWork(
        prefill_tokens=entering * prompt,
        prefill_chunks=entering,
        prefill_pairs=entering * prompt * (prompt + 1) / 2,
        prefill_context_tokens=entering * prompt,
        decode_tokens=batch,
        decode_context_tokens=batch * context,
        sampled_rows=batch + entering,
    )


def fit_efficiency(setup: Setup, rows: Sequence[PublishedRow]) -> Efficiency:
    """The two factors that make the squared logarithm of predicted / measured least over `rows`.

    By exhaustive search in hundredths: two parameters in (0, 1] need no gradient.
    """
    batches = [running_requests(setup, row) for row in rows]
    best = (math.inf, Efficiency(1.0, 1.0))
    for prefill in range(20, 101):
        for decode in range(40, 101):
            efficiency = Efficiency(prefill / 100, decode / 100)
            roofline = setup.roofline(efficiency)
            loss = sum(
                math.log(steady_throughput(roofline, batch, row) / row.tokens_per_s) ** 2
                for batch, row in zip(batches, rows, strict=True)
            )
            if loss < best[0]:
                best = (loss, efficiency)
    return best[1]


def predict(
    setup: Setup,
    rows: Sequence[PublishedRow],
    efficiency: Efficiency,
    fitted: Sequence[PublishedRow] = (),
) -> tuple[Prediction, ...]:
    """Each row with its prediction. fitted: the rows that `efficiency` was fitted on."""
    roofline = setup.roofline(efficiency)
    predictions = []
    for row in rows:
        batch = running_requests(setup, row)
        tokens_per_s = steady_throughput(roofline, batch, row)
        predictions.append(Prediction(row, batch, tokens_per_s, row in fitted))
    return tuple(predictions)


@dataclass(frozen=True)
class Comparison:
    """One table of docs/roofline.md."""

    title: str
    efficiency: Efficiency
    predictions: tuple[Prediction, ...]


@functools.cache
def compare_with_published() -> tuple[Comparison, ...]:
    """Fit on every other row in published order, first, third, …, and predict the others; then the
    other way round; then what neither fit has seen, with the first fit's factors. Once a process:
    every simulated result says how far they are off."""
    rows = H100_LLAMA_31_8B_FP8
    odd, even = rows[::2], rows[1::2]
    first, second = fit_efficiency(H100_8B, odd), fit_efficiency(H100_8B, even)
    return (
        Comparison("H100, first half fitted", first, predict(H100_8B, rows, first, odd)),
        Comparison("H100, second half fitted", second, predict(H100_8B, rows, second, even)),
        Comparison("H100, two more shapes", first, predict(H100_8B, H100_MORE, first)),
        Comparison("H200", first, predict(H200_8B, H200_LLAMA_31_8B_FP8, first)),
        Comparison(
            "Llama-3.3-70B on two H100",
            first,
            predict(H100_70B, H100_LLAMA_33_70B_FP8_TP2, first),
        ),
    )
