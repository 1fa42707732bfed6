"""Who may start, and what becomes of those who must make room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from ..kv.base import KVRoom
from ..state import RequestState
from ..step import Verdict

Preemption = Literal["recompute", "swap", "auto"]


class Admission(Protocol):
    """A pure function of the queues and the cache: nothing is changed by asking."""

    @property
    def guarantees_completion(self) -> bool:
        """Whether a request that started will always find room, so that nothing is preempted."""
        ...

    @property
    def preemption(self) -> Preemption:
        """What becomes of a request that must make room: its keys and values are thrown away and
        recomputed, or swapped to the host; `auto` swaps several samples of a request that make
        room together, as vLLM v0 does."""
        ...

    def can_ever_hold(self, request: RequestState, kv: KVRoom) -> bool:
        """Whether an empty cache could take the request as it stands."""
        ...

    def admit(
        self,
        request: RequestState,
        tokens: int,
        running: Sequence[RequestState],
        kv: KVRoom,
        *,
        promised_units: int = 0,
    ) -> bool:
        """Whether a request that `can_ever_hold` is true of may start now. tokens: how much of it
        the batching policy wants room for at once. promised_units: free ones that are spoken for,
        beside what `running` may still take."""
        ...

    def readmit(self, requests: Sequence[RequestState], kv: KVRoom) -> Verdict:
        """Whether sequences that were swapped out may come back together; NEVER, asked before
        they are, if no empty cache would take them."""
        ...

    def why_never(self, request: RequestState, kv: KVRoom) -> str:
        """The numbers behind `can_ever_hold` saying no, for the user."""
        ...
