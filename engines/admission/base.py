"""Who may start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from ..kv.base import KVCache
from ..state import RequestState
from ..step import Verdict


class Admission(Protocol):
    """A pure function of the queues and the cache: nothing is changed by asking."""

    guarantees_completion: ClassVar[bool]
    """Whether a request that started will always find room, so that nothing is preempted."""

    def can_ever_hold(self, tokens: int, kv: KVCache) -> bool:
        """Whether an empty cache could take a request of that many tokens."""
        ...

    def admit(
        self, request: RequestState, running: Sequence[RequestState], kv: KVCache
    ) -> Verdict: ...
