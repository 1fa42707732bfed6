"""What the prompts of a stored run have in common, and which requests wait for which: drawn again
from the seed that its workload stores. The words themselves are not stored, and are made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ...workloads.contents import Streams, drawn_prefixes
from ...workloads.sessions import ALONE, SessionDraws, Slot, draw_slots
from ...workloads.spec import CorpusPrompts, RandomPrompts, Sessions
from ..result import Result

# Two runs of tokens that are made up share none.
STRIDE = 1 << 24


@dataclass(frozen=True)
class Shape:
    """By a request's index. prefixes: the number of the shared prefix that it may begin with.
    prefix_tokens: of each. slots: whom it follows."""

    prefixes: Sequence[int | None]
    prefix_tokens: int
    slots: Sequence[Slot]

    def prompt(self, index: int, tokens: int, sent: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
        """So many tokens. sent: the prompts of the requests before it."""
        before: Sequence[int] = ()
        slot, number = self.slots[index], self.prefixes[index]
        if slot.history is not None:
            before = sent[slot.history][:tokens]
        elif number is not None:
            first = -(number + 1) * STRIDE
            before = range(first, first + min(self.prefix_tokens, tokens - 1))
        own = index * STRIDE
        return (*before, *range(own, own + tokens - len(before)))


def shape_of(result: Result) -> Shape:
    """Of what is known of it; `unknown_of` says what is not."""
    told = result.workload.description
    count = int(told["num_requests"])
    slots = _slots(result) or [ALONE] * count
    prompts = _made_prompts(told)
    if prompts is None or _turns_left_out(result):
        return Shape([None] * count, 0, slots)
    prefixes = drawn_prefixes(prompts, count, int(told["seed"]))
    return Shape(prefixes, prompts.shared_prefix_tokens, slots)


def unknown_of(result: Result) -> tuple[str, ...]:
    """What of a run cannot be made again, and what the twin does instead, a sentence each."""
    found: list[str] = []
    if _slots(result) is None:
        found.append(
            "which of its requests are turns of one session is not stored: the twin sends each "
            "when it was due, whenever the reply before it ends, with a prompt of its own"
        )
    shares = _what_may_be_shared(result)
    if shares and result.config.get("prefix_cache"):
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


def _slots(result: Result) -> Sequence[Slot] | None:
    """None where requests follow each other and nobody knows which."""
    told = result.workload.description
    count = int(told["num_requests"])
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
