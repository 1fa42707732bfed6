"""Contiguous KV cache: one run of token slots for each sequence, set aside when it starts.

Source: the baselines of Orca (Yu et al., OSDI 2022) as the PagedAttention paper measures them
(section 6.1): `max` sets aside the longest sequence the model allows, `pow2` the prompt and the
output rounded up to a power of two, `oracle` the output that was asked for, which is what will be
used where nothing else ends it. Nothing is shared: every sample of a request has a run of its own,
and the prompt's keys and values are copied into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import ConfigError
from ..state import RequestState
from ..step import StepPlan
from ..trace import Holdings, KVUsage
from .arena import Arena, BuddyArena, FirstFitArena, Run
from .base import ContiguousLayout, Move

Reservation = Literal["max", "pow2", "oracle"]
ArenaKind = Literal["first-fit", "buddy"]
DEFAULT_RESERVATION: Reservation = "max"
DEFAULT_ARENA: ArenaKind = "first-fit"


class ContiguousKVCache:
    """An arena of token slots; the units of admission are slots.

    max_model_len: the longest sequence, and what `max` reserves. A sequence never grows past its
    reservation, so nothing runs out of memory half way.
    """

    kind = "contiguous"
    grows = False
    names_blocks = False
    tokens_per_unit = 1

    def __init__(
        self,
        slots: int,
        max_model_len: int,
        *,
        reservation: Reservation = DEFAULT_RESERVATION,
        arena: ArenaKind = DEFAULT_ARENA,
    ) -> None:
        self._arena: Arena = BuddyArena(slots) if arena == "buddy" else FirstFitArena(slots)
        self._max_model_len = max_model_len
        self.reservation = reservation
        if not self._arena.has_room(max_model_len):
            raise ConfigError(
                "kv_memory",
                f"{slots} tokens",
                f"one piece of {self._arena.granted(max_model_len)} tokens, which one request of "
                f"max_model_len {max_model_len} takes; raise --kv-memory or lower --max-model-len",
            )
        self._runs: dict[RequestState, Run] = {}
        # Runs of samples that are not born yet.
        self._unborn: dict[RequestState, list[Run]] = {}
        self._moves: list[Move] = []

    @property
    def capacity_tokens(self) -> int:
        return self._arena.slots

    @property
    def total_units(self) -> int:
        return self._arena.slots

    @property
    def free_units(self) -> int:
        return self._arena.free_slots

    def _reserved(self, request: RequestState) -> int:
        """Slots asked for one sample, before the arena rounds them."""
        if self.reservation == "max":
            return self._max_model_len
        if self.reservation == "oracle":
            return request.full_tokens
        output = request.full_tokens - request.prompt_tokens
        return min(request.prompt_tokens + (1 << (output - 1).bit_length()), self._max_model_len)

    def units_of(self, request: RequestState, tokens: int) -> int:
        if tokens > self._max_model_len:
            return self._arena.slots + 1  # never: admission refuses it for good
        return request.samples * self._arena.granted(self._reserved(request))

    def needs(self, request: RequestState, tokens: int) -> int:
        return self.units_of(request, tokens)

    def fits(self, request: RequestState, tokens: int) -> bool:
        return tokens <= self._max_model_len and self._arena.has_room(
            self._reserved(request), request.samples
        )

    def promised_units(self, running: Iterable[RequestState]) -> int:
        del running  # everything was taken at the start
        return 0

    def cached_tokens(self, request: RequestState) -> int:
        del request
        return 0

    def next_new_block(self, request: RequestState) -> None:
        del request

    def extend(self, request: RequestState, tokens: int) -> bool:
        run = self._runs.get(request)
        if run is not None:
            return tokens <= run.length
        if not self.fits(request, tokens):
            return False
        taken = [self._arena.take(self._reserved(request)) for _ in range(request.samples)]
        own, *others = [run for run in taken if run is not None]
        self._runs[request] = own
        if others:
            self._unborn[request] = others
        return True

    def grow(self, requests: Sequence[RequestState]) -> int:
        runs = self._runs
        for index, request in enumerate(requests):
            if request.known_tokens > runs[request].length:
                return index
        return len(requests)

    def fork(self, parent: RequestState, child: RequestState) -> bool:
        waiting = self._unborn[parent]
        run = self._runs[child] = waiting.pop(0)
        if not waiting:
            del self._unborn[parent]
        source = self._runs[parent].start
        self._moves.append(Move("copy", source, run.start, parent.computed_tokens))
        return True

    def publish(self, request: RequestState, tokens: int) -> None:
        """Nothing is shared."""

    def forget(self, request: RequestState) -> None:
        """Nobody finds anything."""

    def forget_names(self) -> None:
        """Nothing is named."""

    def release(self, request: RequestState, *, computed: bool = True) -> None:
        del computed
        run = self._runs.pop(request, None)
        if run is not None:
            self._arena.give(run)
        for unborn in self._unborn.pop(request, ()):
            self._arena.give(unborn)

    def swap_out(self, requests: Sequence[RequestState]) -> bool:
        del requests
        return False  # it has no room on the host

    def swap_in(self, requests: Sequence[RequestState]) -> None:
        raise RuntimeError(f"nothing of {[one.request_id for one in requests]} is on the host")

    def swap_in_units(self, requests: Sequence[RequestState]) -> int:
        raise RuntimeError(f"nothing of {[one.request_id for one in requests]} is on the host")

    def take_moves(self) -> list[Move]:
        moves, self._moves = self._moves, []
        return moves

    def run_of(self, request: RequestState) -> Run | None:
        """Where the sequence lies; None while it holds nothing."""
        return self._runs.get(request)

    def layout(self, plan: StepPlan) -> ContiguousLayout:
        slots: list[int] = []
        starts: list[int] = []
        for chunk in plan.chunks:
            start = self._runs[chunk.request].start
            starts.append(start)
            slots.extend(range(start + chunk.start, start + chunk.end))
        return ContiguousLayout(slots, starts)

    def usage(self, live: Sequence[RequestState], head: RequestState | None) -> KVUsage:
        blocked = head is not None and not self.fits(head, head.known_tokens)
        runs = self._runs
        holders = [request for request in live if request in runs]
        held = [runs[request].length for request in holders]
        for index, request in enumerate(holders):
            if request in self._unborn:
                held[index] += sum(run.length for run in self._unborn[request])
        return KVUsage(
            capacity_tokens=self.capacity_tokens,
            holdings=Holdings(
                [request.request_id for request in holders],
                [request.computed_tokens for request in holders],
                held,
            ),
            external_tokens=self.free_units if blocked else 0,
        )
