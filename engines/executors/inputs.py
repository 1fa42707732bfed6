"""What one forward pass reads, as numbers of the host: a plan and its KV layout, packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..kv.base import ContiguousLayout, KVLayout
from ..step import StepPlan


@dataclass(frozen=True)
class StepInputs:
    """T packed tokens of S sequences, in plan order.

    token_ids, positions, slots: [T]. logit_rows: the tokens whose next one is wanted, packed
    indices. query_lengths, kv_lengths: [S]. tables: the blocks of each sequence; starts: its first
    slot in a contiguous cache; one of them is empty.
    awaited: packed indices of tokens whose ids are samples of the step before, still on the device;
    awaited_rows: which of its samples.
    """

    token_ids: list[int]
    positions: list[int]
    slots: list[int]
    logit_rows: list[int]
    query_lengths: list[int]
    kv_lengths: list[int]
    tables: list[list[int]]
    starts: list[int]
    awaited: list[int]
    awaited_rows: list[int]

    @property
    def only_decodes(self) -> bool:
        """One new token a sequence, and the next one of each is wanted."""
        return len(self.query_lengths) == len(self.token_ids) == len(self.logit_rows)


def pack(plan: StepPlan, layout: KVLayout) -> StepInputs:
    """The plan's tokens, one behind the other."""
    token_ids: list[int] = []
    positions: list[int] = []
    logit_rows: list[int] = []
    awaited: list[int] = []
    awaited_rows: list[int] = []
    for chunk in plan.chunks:
        request, start, length = chunk
        end = start + length
        token_ids.extend(request.tokens(start, end))
        positions.extend(range(start, end))
        if end == request.known_tokens:
            newest = len(token_ids) - 1
            logit_rows.append(newest)
            if request.awaited_row is not None:
                awaited.append(newest)
                awaited_rows.append(request.awaited_row)
    contiguous = isinstance(layout, ContiguousLayout)
    return StepInputs(
        token_ids,
        positions,
        layout.slot_mapping,
        logit_rows,
        [chunk.length for chunk in plan.chunks],
        [chunk.end for chunk in plan.chunks],
        [] if contiguous else layout.block_tables,
        layout.starts if contiguous else [],
        awaited,
        awaited_rows,
    )


@dataclass(frozen=True)
class Spare:
    """Room beyond the pool, for sequences that nobody asked for: its first slot, and its block in a
    paged cache."""

    slot: int
    block: int | None = None


def pad_decodes(inputs: StepInputs, sequences: int, spare: Spare) -> StepInputs:
    """A step of decodes as one of more sequences: each that is added computes one token, alone.

    All of them write the same to the one spare slot. Only what the pass itself reads grows: the
    logit rows that are wanted stay.
    """
    more = sequences - len(inputs.token_ids)
    tables, starts = inputs.tables, inputs.starts
    if spare.block is None:
        starts = starts + [spare.slot] * more
    else:
        tables = tables + [[spare.block]] * more
    return StepInputs(
        inputs.token_ids + [0] * more,
        inputs.positions + [0] * more,
        inputs.slots + [spare.slot] * more,
        inputs.logit_rows,
        inputs.query_lengths + [1] * more,
        inputs.kv_lengths + [1] * more,
        tables,
        starts,
        inputs.awaited,
        inputs.awaited_rows,
    )


def no_inputs() -> StepInputs:
    """A step of nobody, to be padded."""
    return StepInputs([], [], [], [], [], [], [], [], [], [])


def decode_buckets(most: int) -> tuple[int, ...]:
    """The numbers of sequences that decode steps are padded to: 1, 2, 4, 8, 16, 24, … and `most`,
    so that from 8 on fewer than 8 rows are computed in vain."""
    sizes = [1, 2, 4, *range(8, most, 8)]
    return (*(size for size in sizes if size < most), most)


def bucket_of(sequences: int, buckets: Sequence[int]) -> int | None:
    """The smallest that holds them; None if none does. buckets: in ascending order."""
    return next((size for size in buckets if size >= sequences), None)
