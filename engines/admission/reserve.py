"""Reserve to completion: start only what can finish, so that nothing is ever preempted.

Source: TensorRT-LLM's GUARANTEED_NO_EVICT capacity scheduler. Blocks are still taken one by one
as tokens come; what is reserved is a promise, kept by counting what each running request may
still take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..kv.base import KVCache
from ..state import RequestState
from ..step import Verdict


@dataclass(frozen=True)
class ReserveAdmission:
    """NOW iff prompt and longest output fit beside what all running requests may still take."""

    guarantees_completion: ClassVar[bool] = True

    def can_ever_hold(self, tokens: int, kv: KVCache) -> bool:
        return kv.units(tokens) <= kv.total_units

    def admit(self, request: RequestState, running: Sequence[RequestState], kv: KVCache) -> Verdict:
        if not self.can_ever_hold(request.full_tokens, kv):
            return Verdict.NEVER
        needed = kv.units(request.full_tokens)
        promised = sum(kv.units(other.full_tokens) - kv.held_units(other) for other in running)
        if needed + promised <= kv.free_units and kv.fits(needed):
            return Verdict.NOW
        return Verdict.LATER
