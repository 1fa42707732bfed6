"""Reserve to completion: start only what can finish, so that nothing is ever preempted.

Source: TensorRT-LLM's GUARANTEED_NO_EVICT capacity scheduler. Blocks are still taken one by one
as tokens come; what is reserved is a promise, kept by counting what each running request may
still take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kv.base import KVRoom
from ..state import RequestState
from ..step import Verdict
from .base import Preemption
from .optimistic import say_why


@dataclass(frozen=True)
class ReserveAdmission:
    """Starts iff prompt and longest output, less what is cached, fit beside what all running
    requests may still take."""

    @property
    def guarantees_completion(self) -> bool:
        return True

    @property
    def preemption(self) -> Preemption:
        return "recompute"  # never asked: nothing is preempted

    def can_ever_hold(self, request: RequestState, kv: KVRoom) -> bool:
        return kv.units_of(request, request.full_tokens) <= kv.total_units

    def admit(
        self,
        request: RequestState,
        tokens: int,
        running: Sequence[RequestState],
        kv: KVRoom,
        *,
        promised_units: int = 0,
    ) -> bool:
        del tokens  # the whole of it, whatever is computed first
        free = kv.free_units - promised_units
        needed = kv.needs(request, request.full_tokens)
        if needed > free or not kv.fits(request, request.full_tokens):
            return False
        return needed + kv.promised_units(running) <= free

    def readmit(self, requests: Sequence[RequestState], kv: KVRoom) -> Verdict:
        del kv  # whoever has all its room reserved never makes room for others
        raise RuntimeError(f"{requests[0].request_id} was swapped out of its reservation")

    def why_never(self, request: RequestState, kv: KVRoom) -> str:
        return say_why(request.full_tokens, kv.units_of(request, request.full_tokens), kv)
