"""The least time a step can take on a device: what must move or be computed, whichever is longer.

A roofline with no efficiency in it (Williams, Waterman and Patterson, Roofline, CACM 2009): bytes
over bandwidth or operations over rate. Bytes are those that no cache can save: every weight once a
step, keys and values once a sequence. Activations are left out, because they may stay in a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Generic, NamedTuple, TypeVar

from .work import ModelWork, StepWork

T = TypeVar("T")


class Products(NamedTuple, Generic[T]):
    """The same of each kind of product, for a method rounds the layers' linear maps, perhaps the
    output projection, and never attention."""

    linear: T
    head: T
    attention: T


@dataclass(frozen=True)
class Roof:
    """What a device does at most. source: a datasheet, or measured."""

    bytes_per_s: float
    flops_per_s: float
    source: str


@dataclass(frozen=True)
class StepFloor:
    """Bytes that must move and operations that must be done in one step; seconds for each."""

    bytes_moved: float
    flops: float
    memory_s: float
    compute_s: float

    @property
    def seconds(self) -> float:
        return max(self.memory_s, self.compute_s)

    @property
    def bound(self) -> str:
        """What the floor is made of: memory or compute."""
        return "memory" if self.memory_s >= self.compute_s else "compute"


def step_bytes(work: StepWork, model: ModelWork) -> float:
    """Weights of the layers, the output projection if a token is sampled, keys and values read and
    written. Sampling counts as greedy."""
    kv_tokens = (
        work.prefill_context_tokens
        + work.prefill_tokens
        + work.decode_context_tokens
        + work.decode_tokens
    )
    return model.linear_bytes + _head_bytes(work, model) + kv_tokens * model.kv_bytes_per_token


def _head_bytes(work: StepWork, model: ModelWork) -> float:
    rows, fewer = work.sampled_rows, model.greedy_head_bytes
    if not rows:
        return 0.0
    # What is computed in one call: a token of each sequence.
    of_one_token = work.prefill_tokens == work.prefill_chunks
    return fewer[ceil(rows) - 1] if of_one_token and rows <= len(fewer) else model.head_bytes


def step_flops(work: StepWork, model: ModelWork) -> Products[float]:
    """Linear maps of every token, logits of sampled rows, attention of every query-key pair."""
    pairs = work.prefill_pairs + work.decode_context_tokens
    return Products(
        work.tokens * model.linear_flops_per_token,
        work.sampled_rows * model.head_flops_per_row,
        pairs * model.attention_flops_per_pair,
    )


def step_floor(work: StepWork, model: ModelWork, rates: Products[Roof]) -> StepFloor:
    """The floor of one step that computes something. rates: of each kind of product in its own
    arithmetic; the bandwidth is the first's."""
    moved, flops = step_bytes(work, model), step_flops(work, model)
    compute_s = sum(
        done / rate.flops_per_s for done, rate in zip(flops, rates, strict=True) if done
    )
    return StepFloor(moved, sum(flops), moved / rates.linear.bytes_per_s, compute_s)
