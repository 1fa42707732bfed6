"""Optimistic admission: start whoever fits now, and preempt when memory runs out later.

Source: vLLM's block manager (v0). A watermark of blocks is kept free at admission only, so that a
request just started does not evict another in its next step. vLLM v1 keeps none unless asked to,
TensorRT-LLM's MAX_UTILIZATION none at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kv.base import KVRoom
from ..state import RequestState
from ..step import Verdict
from .base import Preemption


@dataclass(frozen=True)
class OptimisticAdmission:
    """Starts iff free - needed >= watermark; never can if total - needed < watermark.

    watermark: share of the pool; int(watermark x total) units, so with 0.01 none below 100. A
    cache whose requests never grow has no use for it. preemption: see `Admission`.
    """

    watermark: float = 0.01
    preemption: Preemption = "recompute"

    @property
    def guarantees_completion(self) -> bool:
        return False

    def can_ever_hold(self, request: RequestState, kv: KVRoom) -> bool:
        needed = kv.units_of(request, request.known_tokens)
        return kv.total_units - needed >= self._spare_units(kv)

    def admit(
        self,
        request: RequestState,
        tokens: int,
        running: Sequence[RequestState],
        kv: KVRoom,
        *,
        promised_units: int = 0,
    ) -> bool:
        del running  # only what is free now counts
        spare = kv.free_units - promised_units - kv.needs(request, tokens)
        return spare >= self._spare_units(kv) and kv.fits(request, tokens)

    def readmit(self, requests: Sequence[RequestState], kv: KVRoom) -> Verdict:
        """With a block to write on for each sequence, as vLLM v0's `can_swap_in`."""
        needed = kv.swap_in_units(requests) + len(requests)
        if kv.total_units - needed < self._spare_units(kv):
            return Verdict.NEVER
        return Verdict.NOW if kv.free_units - needed >= self._spare_units(kv) else Verdict.LATER

    def why_never(self, request: RequestState, kv: KVRoom) -> str:
        needed = kv.units_of(request, request.known_tokens)
        return say_why(request.known_tokens, needed, kv, spare=self._spare_units(kv))

    def _spare_units(self, kv: KVRoom) -> int:
        return int(self.watermark * kv.total_units) if kv.grows else 0


def say_why(tokens: int, needed: int, kv: KVRoom, *, spare: int = 0) -> str:
    unit = "blocks" if kv.tokens_per_unit > 1 else "token slots"
    kept = f", {spare} of them kept free" if spare else ""
    return (
        f"the KV cache can never hold its {tokens} tokens: "
        f"they need {needed} {unit}, the pool has {kv.total_units}{kept}"
    )
