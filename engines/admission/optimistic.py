"""Optimistic admission: start whoever fits now, and preempt when memory runs out later.

Source: vLLM's block manager. A watermark of blocks is kept free at admission only, so that a
request just started does not evict another in its next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..kv.base import KVCache
from ..state import RequestState
from ..step import Verdict


@dataclass(frozen=True)
class OptimisticAdmission:
    """NOW iff free - needed >= watermark, NEVER iff total - needed < watermark, else LATER.

    watermark: share of the pool; int(0.01 x total) units, so none below 100. A cache whose
    requests never grow has no use for it.
    """

    watermark: float = 0.01
    guarantees_completion: ClassVar[bool] = False

    def can_ever_hold(self, tokens: int, kv: KVCache) -> bool:
        return kv.total_units - kv.units(tokens) >= self._spare_units(kv)

    def admit(self, request: RequestState, running: Sequence[RequestState], kv: KVCache) -> Verdict:
        del running  # only what is free now counts
        if not self.can_ever_hold(request.known_tokens, kv):
            return Verdict.NEVER
        needed = kv.units(request.known_tokens)
        if kv.free_units - needed >= self._spare_units(kv) and kv.fits(needed):
            return Verdict.NOW
        return Verdict.LATER

    def _spare_units(self, kv: KVCache) -> int:
        return int(self.watermark * kv.total_units) if kv.grows else 0
