"""The one record of a step that reports, attribution and the gate read.

Plain data: no torch, no engine object is reachable from it. Chunks and holdings are kept as
columns, because a simulated trace has millions of each; they read as sequences of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

Phase = Literal["prefill", "decode"]
NONE: Mapping[int, int] = {}


class ChunkTrace(NamedTuple):
    """A run of one request's tokens computed in a step.

    request_id: of the sequence; the samples of one request are `r`, `r#1`, `r#2`, …
    start, length: token positions [start, start + length).
    recomputed_tokens: how many of them had been computed before a preemption threw them away.
    cached_tokens: how many tokens before `start` were found in the prefix cache and never computed
    by this sequence.
    """

    request_id: str
    phase: Phase
    start: int
    length: int
    recomputed_tokens: int = 0
    cached_tokens: int = 0


class Chunks(Sequence[ChunkTrace]):
    """A step's chunks by column; the first `prefills` of them are prefills.

    recomputed, cached: the few chunks that have any, by index.
    """

    __slots__ = ("cached", "lengths", "prefills", "recomputed", "request_ids", "starts")

    def __init__(
        self,
        request_ids: Sequence[str],
        starts: Sequence[int],
        lengths: Sequence[int],
        prefills: int,
        recomputed: Mapping[int, int] = NONE,
        cached: Mapping[int, int] = NONE,
    ) -> None:
        self.request_ids = request_ids
        self.starts = starts
        self.lengths = lengths
        self.prefills = prefills
        self.recomputed = recomputed
        self.cached = cached

    @classmethod
    def of(cls, rows: Iterable[ChunkTrace]) -> Chunks:
        """The same as columns; prefills are moved in front, where a step computes them."""
        ordered = sorted(rows, key=lambda row: row.phase == "decode")
        return cls(
            [row.request_id for row in ordered],
            [row.start for row in ordered],
            [row.length for row in ordered],
            sum(row.phase == "prefill" for row in ordered),
            {i: row.recomputed_tokens for i, row in enumerate(ordered) if row.recomputed_tokens},
            {i: row.cached_tokens for i, row in enumerate(ordered) if row.cached_tokens},
        )

    @property
    def prefill_tokens(self) -> int:
        return sum(self.lengths[: self.prefills])

    @property
    def decode_tokens(self) -> int:
        return len(self.lengths) - self.prefills

    @property
    def phases(self) -> list[Phase]:
        prefills: list[Phase] = ["prefill"] * self.prefills
        decodes: list[Phase] = ["decode"] * self.decode_tokens
        return prefills + decodes

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> ChunkTrace: ...
    @overload
    def __getitem__(self, index: slice) -> list[ChunkTrace]: ...
    def __getitem__(self, index: int | slice) -> ChunkTrace | list[ChunkTrace]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return ChunkTrace(
            self.request_ids[at],
            "prefill" if at < self.prefills else "decode",
            self.starts[at],
            self.lengths[at],
            self.recomputed.get(at, 0),
            self.cached.get(at, 0),
        )

    def __iter__(self) -> Iterator[ChunkTrace]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chunks) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Chunks({list(self)!r})"


class Holding(NamedTuple):
    """What one live sequence holds of the KV cache at the end of a step.

    used_tokens: tokens whose keys and values are written (u in `kv/usage.py`).
    held_tokens: tokens of room set aside for it (R), at least used_tokens.
    Room that several sequences share counts in full for each; `KVUsage.shared_tokens` says how
    much of it is counted more than once.
    """

    request_id: str
    used_tokens: int
    held_tokens: int


class Holdings(Sequence[Holding]):
    """Holdings by column."""

    __slots__ = ("held", "request_ids", "used")

    def __init__(self, request_ids: Sequence[str], used: Sequence[int], held: Sequence[int]):
        self.request_ids = request_ids
        self.used = used
        self.held = held

    @classmethod
    def of(cls, rows: Iterable[Holding]) -> Holdings:
        kept = list(rows)
        return cls(
            [row.request_id for row in kept],
            [row.used_tokens for row in kept],
            [row.held_tokens for row in kept],
        )

    def __len__(self) -> int:
        return len(self.request_ids)

    @overload
    def __getitem__(self, index: int) -> Holding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Holding]: ...
    def __getitem__(self, index: int | slice) -> Holding | list[Holding]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Holding(self.request_ids[index], self.used[index], self.held[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holdings) and list(self) == list(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Holdings({list(self)!r})"


@dataclass(frozen=True)
class KVUsage:
    """The KV cache at the end of a step, in tokens.

    capacity_tokens: the pool S. external_tokens: all free room, while the head of the waiting queue
    finds no hole large enough: one hole that is too small counts as several do.
    shared_tokens: room saved by sharing blocks: for each shared block, (holders - 1) x the tokens
    written in it. shared_room_tokens: the same with the unwritten ends of shared blocks: how much
    room `holdings` count more than once. cached_tokens: tokens in free blocks whose content the
    prefix cache still knows.
    Reserved against internal room depends on final lengths, known only after the run: see
    `split` in `kv/usage.py`.
    """

    capacity_tokens: int
    holdings: Holdings
    external_tokens: int = 0
    shared_tokens: int = 0
    shared_room_tokens: int = 0
    cached_tokens: int = 0

    @property
    def used_tokens(self) -> int:
        """Tokens of room that are written; what is shared counts once."""
        return sum(self.holdings.used) - self.shared_tokens

    @property
    def held_tokens(self) -> int:
        """Tokens of room that are set aside; what is shared counts once."""
        return sum(self.holdings.held) - self.shared_room_tokens


@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """Where a step's time went, in seconds; of a whole step the parts sum to its duration. An
    executor's own have neither schedule_s nor host_s, but where they are a cost model's.

    schedule_s: choosing the step. prepare_s: its KV layout and input tensors.
    attention_s: attention over the KV cache, its write included; of our own decoder the norms of q
    and k and the rotation, too, which through transformers are in linear_s. linear_s: the rest of
    the model's forward pass, and what of the cache is copied within the device for it.
    sample_s: logits to tokens, the copy to the host included.
    communicate_s: collectives between devices. swap_s: keys and values moved to or from the host
    for a preemption. host_s: what remains (commit, bookkeeping).
    On an accelerator launches return early, so attention_s and linear_s are not told apart:
    attention_s is then 0 and linear_s holds the whole forward pass, device wait in sample_s.
    Where the next step is prepared while one runs, they are the host's time while it ran:
    schedule_s and prepare_s are the next one's, and linear_s is waiting for the device; of that,
    what the step swapped is swap_s.
    """

    schedule_s: float = 0.0
    prepare_s: float = 0.0
    attention_s: float = 0.0
    linear_s: float = 0.0
    sample_s: float = 0.0
    host_s: float = 0.0
    communicate_s: float = 0.0
    swap_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The sum of all parts."""
        return sum(
            (
                self.schedule_s,
                self.prepare_s,
                self.attention_s,
                self.linear_s,
                self.sample_s,
                self.communicate_s,
                self.swap_s,
                self.host_s,
            )
        )

    @property
    def executed_s(self) -> float:
        """What of it an executor knows: all but choosing the step and what remains."""
        return (
            self.prepare_s
            + self.attention_s
            + self.linear_s
            + self.sample_s
            + self.communicate_s
            + self.swap_s
        )


@dataclass(frozen=True)
class StepTrace:
    """One step: when, what it computed, what waited, what the KV cache held, where time went.

    waiting, running: queue lengths while it ran; who is swapped out waits. preempted: sequences
    that lost their place, however; of these, swapped_out kept their keys and values on the host.

    Where the next step is prepared while one runs (`pipeline.py`), a step starts when the one
    before it ends, and has been planned before that. dropped: sequences computed in vain, because
    the token before turned out to be their last. synchronous: why the next step had to wait for
    this one's tokens; empty if it did not, or where no step runs beside its successor's planning.
    device_s: the device's own time for it, by its own clock, from its first operation to its last:
    where the host launches them too slowly, it waits in between; 0 where there is no such clock.
    replayed: it was launched at once, as a captured graph, and not operation by operation.
    """

    index: int
    start_s: float
    end_s: float
    chunks: Chunks
    waiting: int
    running: int
    preempted: tuple[str, ...]
    refused: tuple[str, ...]
    kv: KVUsage
    phases: PhaseTimes = field(default_factory=PhaseTimes)
    swapped_out: tuple[str, ...] = ()
    swapped_in: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    synchronous: str = ""
    device_s: float = 0.0
    replayed: bool = False

    @property
    def prefill_tokens(self) -> int:
        return self.chunks.prefill_tokens

    @property
    def decode_tokens(self) -> int:
        return self.chunks.decode_tokens
