"""What a schedule is: each step's work and what it left behind, and what became of each request.

Plain data; `to_json` and `from_json` are its stable written form. Sequences are named as in step
traces: the samples of a request `r` are `r`, `r#1`, `r#2`, …
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from .lines import line
from .scenario import Scenario

VERSION = 1
Setting = str | int | float | bool | None
Ending = Literal["finished", "refused", "aborted", "unfinished"]


@dataclass(frozen=True)
class Chunk:
    """Tokens [start, start + length) of one sequence, computed in a step.

    cached_tokens: tokens before `start` taken from the prefix cache and never computed by it.
    recomputed_tokens: how many of the chunk's had been computed before a preemption lost them.
    yields_token: whether it reaches the newest known token, so that a next one is sampled.
    """

    request_id: str
    start: int
    length: int
    cached_tokens: int
    recomputed_tokens: int
    yields_token: bool


@dataclass(frozen=True)
class Refused:
    """A request that can never be served, and why, with the numbers."""

    request_id: str
    reason: str


@dataclass(frozen=True)
class Place:
    """What one running sequence holds: the blocks of a paged cache in position order, or a run of a
    contiguous one, by its first token slot and its length.

    used_tokens: written. held_tokens: room set aside for it, what it shares included, and so is
    what is kept for samples that are not born yet. A sample that was born and ended in the same
    step has no blocks and no run here.
    """

    request_id: str
    used_tokens: int
    held_tokens: int
    blocks: tuple[int, ...] = ()
    run: tuple[int, int] | None = None


@dataclass(frozen=True)
class KVState:
    """The KV cache as a step left it, before those who ended gave back what they held.

    In the schedule's `kv_unit`. held: what is shared counts once. shared: room saved by sharing,
    the sum of (holders - 1). cached: free blocks whose content the prefix cache still knows.
    external: free, but no use to the head of the queue: no one piece is large enough. copied:
    units copied in the step, on write or for a new sample.
    """

    free: int
    held: int
    shared: int
    cached: int
    external: int
    copied: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Step:
    """One step. Steps in which nobody was there are left out; `index` counts them.

    arrived, aborted: just before it. preempted: lost their place and what was computed.
    swapped_out: lost their place; their keys and values went to the host. ended: sequences whose
    last token it computed. waiting, on_host, running: the queues in order when it had been
    computed; those who ended in it still run.
    """

    index: int
    start_s: float
    arrived: tuple[str, ...]
    aborted: tuple[str, ...]
    prefills: tuple[Chunk, ...]
    decodes: tuple[Chunk, ...]
    preempted: tuple[str, ...]
    swapped_out: tuple[str, ...]
    swapped_in: tuple[str, ...]
    refused: tuple[Refused, ...]
    ended: tuple[str, ...]
    waiting: tuple[str, ...]
    on_host: tuple[str, ...]
    running: tuple[str, ...]
    kv: KVState


@dataclass(frozen=True)
class Outcome:
    """What became of one request, all its samples together.

    first_token_step, end_step: None where there was none. longest_gap_steps: the most steps from
    one token of a sequence to its next, 1 where none waited; None with a token or none.
    preemptions: places lost, swaps among them. reason: why it was refused.
    """

    request_id: str
    ending: Ending
    arrival_step: int
    first_token_step: int | None
    end_step: int | None
    longest_gap_steps: int | None
    preemptions: int
    swaps: int
    recomputed_tokens: int
    cached_tokens: int
    reason: str = ""


@dataclass(frozen=True)
class Schedule:
    """What an engine does with a scenario.

    engine: the preset by the name that was asked for; settings: every choice in force.
    kv_unit: what KV states count, `blocks` or `tokens`; kv_total: how many there are.
    """

    version: int
    engine: str
    settings: dict[str, Setting]
    kv_unit: Literal["blocks", "tokens"]
    kv_total: int
    steps: tuple[Step, ...]
    requests: tuple[Outcome, ...]
    scenario: Scenario

    @property
    def lines(self) -> list[str]:
        """A step a line: `P a0+8 | D b` is a chunk of a's prompt beside a decode of b."""
        return [line(step) for step in self.steps]


@cache
def _adapter() -> TypeAdapter[Schedule]:
    return TypeAdapter(Schedule)


@cache
def _list_adapter() -> TypeAdapter[list[Schedule]]:
    return TypeAdapter(list[Schedule])


def to_json(schedule: Schedule) -> str:
    return _adapter().dump_json(schedule, indent=2).decode()


def list_to_json(schedules: list[Schedule]) -> str:
    return _list_adapter().dump_json(schedules, indent=2).decode()


def from_json(text: str) -> Schedule:
    """What `to_json` wrote. Raises pydantic's ValidationError for anything else."""
    return _adapter().validate_json(text)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of what `to_json` writes."""
    return _adapter().json_schema(mode="serialization")
