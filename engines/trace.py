"""The one record of a step that reports, attribution and the gate read.

Plain data: no torch, no engine object is reachable from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True)
class ChunkTrace:
    """A run of one request's tokens computed in a step.

    start, length: token positions [start, start + length).
    recomputed_tokens: how many of them had been computed before a preemption threw them away.
    """

    request_id: str
    phase: Phase
    start: int
    length: int
    recomputed_tokens: int = 0


@dataclass(frozen=True)
class Holding:
    """What one live request holds of the KV cache at the end of a step.

    used_tokens: tokens whose keys and values are written (u in `kv/usage.py`).
    held_tokens: tokens of room set aside for it (R), at least used_tokens.
    """

    request_id: str
    used_tokens: int
    held_tokens: int


@dataclass(frozen=True)
class KVUsage:
    """The KV cache at the end of a step, in tokens.

    capacity_tokens: the pool S. external_tokens: free room that cannot serve the head of the
    waiting queue because it is not contiguous. shared_tokens: room saved by sharing blocks.
    Reserved against internal room depends on final lengths, known only after the run: see
    `split` in `kv/usage.py`.
    """

    capacity_tokens: int
    holdings: tuple[Holding, ...]
    external_tokens: int = 0
    shared_tokens: int = 0

    @property
    def used_tokens(self) -> int:
        return sum(holding.used_tokens for holding in self.holdings)

    @property
    def held_tokens(self) -> int:
        return sum(holding.held_tokens for holding in self.holdings)


@dataclass(frozen=True)
class PhaseTimes:
    """Where a step's time went, in seconds; the parts sum to the step's duration.

    schedule_s: choosing the step and its KV layout. prepare_s: building its input tensors.
    attention_s: attention over the KV cache, its write included. linear_s: the rest of the
    model's forward pass. sample_s: logits to tokens, the copy to the host included.
    host_s: what remains (commit, bookkeeping).
    On an accelerator launches return early, so attention_s and linear_s are not told apart:
    attention_s is then 0 and linear_s holds the whole forward pass, device wait in sample_s.
    """

    schedule_s: float = 0.0
    prepare_s: float = 0.0
    attention_s: float = 0.0
    linear_s: float = 0.0
    sample_s: float = 0.0
    host_s: float = 0.0


@dataclass(frozen=True)
class StepTrace:
    """One step: when, what it computed, what waited, what the KV cache held, where time went."""

    index: int
    start_s: float
    end_s: float
    chunks: tuple[ChunkTrace, ...]
    waiting: int
    running: int
    preempted: tuple[str, ...]
    refused: tuple[str, ...]
    kv: KVUsage
    phases: PhaseTimes = field(default_factory=PhaseTimes)

    @property
    def prefill_tokens(self) -> int:
        return sum(chunk.length for chunk in self.chunks if chunk.phase == "prefill")

    @property
    def decode_tokens(self) -> int:
        return sum(chunk.length for chunk in self.chunks if chunk.phase == "decode")
