"""What the prompts of a stored run have in common, and which requests wait for which: as its table
says, or drawn again from the seed that its workload stores. The words themselves are not stored,
and are made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ...workloads.contents import Streams, drawn_prefixes
from ...workloads.sessions import ALONE, SessionDraws, Slot, draw_slots
from ...workloads.sharing import SHARING_BLOCK_TOKENS
from ...workloads.spec import CorpusPrompts, RandomPrompts, Sessions
from ..result import Result
from ..storage.store import StoredRun

# Two runs of tokens that are made up share none.
STRIDE = 1 << 24


@dataclass(frozen=True)
class Shape:
    """By a request's index. prefixes: the number of the shared prefix that it may begin with.
    prefix_tokens: of each. slots: whom it follows. blocks: names of those that it begins with, in
    place of what it follows and of a prefix."""

    prefixes: Sequence[int | None]
    prefix_tokens: int
    slots: Sequence[Slot]
    blocks: Mapping[int, Sequence[int]] | None = None

    def prompt(self, index: int, tokens: int, sent: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
        """So many tokens. sent: the prompts of the requests before it."""
        before: Sequence[int] = ()
        slot, number = self.slots[index], self.prefixes[index]
        if self.blocks is not None:
            firsts = [-(name + 1) * STRIDE for name in self.blocks[index]]
            before = [at for one in firsts for at in range(one, one + SHARING_BLOCK_TOKENS)]
        elif slot.history is not None:
            before = sent[slot.history][:tokens]
        elif number is not None:
            first = -(number + 1) * STRIDE
            before = range(first, first + min(self.prefix_tokens, tokens - 1))
        own = index * STRIDE
        return (*before, *range(own, own + tokens - len(before)))


def shape_of(run: StoredRun) -> Shape:
    """Of what is known of it; `unknown_of` says what is not."""
    result = run.result
    told = result.workload.description
    count = int(told["num_requests"])
    slots = _slots(run) or [ALONE] * count
    prompts = _made_prompts(told)
    blocks = _blocks(run) if _what_may_be_shared(result) else None
    if blocks is not None:
        return Shape([None] * count, 0, slots, blocks)
    if prompts is None or _turns_left_out(result):
        return Shape([None] * count, 0, slots)
    prefixes = drawn_prefixes(prompts, count, int(told["seed"]))
    return Shape(prefixes, prompts.shared_prefix_tokens, slots)


def unknown_of(run: StoredRun) -> tuple[str, ...]:
    """What of a run cannot be made again, and what the twin does instead, a sentence each."""
    found: list[str] = []
    if _slots(run) is None:
        found.append(
            "which of its requests are turns of one session is not stored: the twin sends each "
            "when it was due, whenever the reply before it ends, with a prompt of its own"
        )
    shares = _what_may_be_shared(run.result)
    if shares and run.result.config.get("prefix_cache") and _blocks(run) is None:
        found.append(
            f"{shares} is not stored: the twin computes whole prompts where the run may have found "
            "parts of them in its prefix cache"
        )
    return tuple(found)


def _what_may_be_shared(result: Result) -> str:
    told = result.workload.description
    prompts = _made_prompts(told)
    if prompts is None:
        kind = (told.get("prompts") or {}).get("kind", "unknown")
        return f"what its prompts ({kind}) have in common"
    if _is_trace(told):
        return "which prompts of its trace begin alike"
    if _turns_left_out(result) and prompts.shared_prefix_tokens:
        return "which of its prompts have which prefix"
    return ""


def _blocks(run: StoredRun) -> Mapping[int, Sequence[int]] | None:
    """By a request's index; None where the run was stored before tables said so."""
    found = dict(zip(run.requests["index"], run.requests["prefix_blocks"], strict=True))
    return None if any(names is None for names in found.values()) else found


def _slots(run: StoredRun) -> Sequence[Slot] | None:
    """None where requests follow each other and nobody knows which."""
    result = run.result
    told = result.workload.description
    count = int(told["num_requests"])
    later = run.requests[run.requests["after"].notna()]
    if len(later):
        before = later["after"].astype(int)
        waits = {
            at: Slot(after, after, think_s)
            for at, after, think_s in zip(later["index"], before, later["think_s"], strict=True)
        }
        return [waits.get(index, ALONE) for index in range(count)]
    num_sessions = int(told.get("num_sessions") or count)
    sessions = told.get("sessions")
    if num_sessions == count:
        return [ALONE] * count
    if not sessions or _made_prompts(told) is None or _is_trace(told) or _turns_left_out(result):
        return None
    draws = SessionDraws(Sessions.model_validate(sessions), Streams(int(told["seed"])).sessions)
    slots = draw_slots(draws, count, None)
    return slots if sum(slot.after is None for slot in slots) == num_sessions else None


def _made_prompts(told: Mapping[str, Any]) -> CorpusPrompts | RandomPrompts | None:
    """None for texts that were read."""
    prompts = told.get("prompts") or {"kind": "corpus"}
    if prompts.get("kind", "corpus") not in ("corpus", "random"):
        return None
    return TypeAdapter[CorpusPrompts | RandomPrompts](
        CorpusPrompts | RandomPrompts
    ).validate_python(prompts)


def _is_trace(told: Mapping[str, Any]) -> bool:
    return (told.get("lengths") or {}).get("kind") == "trace"


def _turns_left_out(result: Result) -> bool:
    """Requests are numbered without them, and drawn with them."""
    return any("turns left out" in text for text in result.workload.adjustments)
