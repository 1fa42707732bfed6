"""One sentence an effect: what moved, by how much, through which mechanism, at what cost.

The mechanism is read from the steps: it is the part, or the pair, that accounts for at least half
of the effect (`mechanism.explain`). Where none does, the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...reports.format import number, percent, plural, seconds
from ...reports.glossary import label_of
from .contrasts import Change, Contrast
from .design import Cell, level_text
from .effects import Spread
from .mechanism import (
    RUNNING,
    Accounted,
    Explanation,
    at_base_and_level,
    residence_ratio,
    running_ratio,
)
from .responses import WASTE, Response, Scale

# A factor nearer to 1 than this is no reason for anything.
NOTABLE = math.log(1.1)
# From this share of the time on, memory is what keeps requests waiting.
BLOCKED = 0.1
PART_NAMES = {
    "queue": "queueing",
    "prefill": "the prompts' own steps",
    "interference": "interference of prefill with decode",
    "preemption": "preemption",
    "decode": "the decode steps themselves",
    RUNNING: "requests running at a time",
}


@dataclass(frozen=True)
class _Seen:
    """A main effect and the runs it was seen in."""

    contrast: Contrast
    repeats: Sequence[Mapping[Cell, Accounted]]

    def of(self, name: str) -> tuple[float, float]:
        """A number of `Mechanism` at the base and at the level."""
        return at_base_and_level(
            self.contrast, self.repeats, lambda one: float(getattr(one.mechanism, name) or 0.0)
        )

    @property
    def running(self) -> float:
        return running_ratio(self.contrast, self.repeats)

    @property
    def residence(self) -> float:
        return residence_ratio(self.contrast, self.repeats)


def main_sentence(
    response: Response,
    contrast: Contrast,
    spread: Spread,
    explanation: Explanation | None,
    repeats: Sequence[Mapping[Cell, Accounted]],
) -> str:
    """ "admission reserve → optimistic: TTFT mean −38 % [−45, −30]: queueing (92 % of it): …"."""
    seen = _Seen(contrast, repeats)
    head = f"{change_text(contrast.changes[0])}: {label(response)} {spread_text(spread, response)}"
    return f"{head}: {_through(response, spread, explanation, seen)}{_cost(response, spread, seen)}."


def interaction_sentence(
    response: Response,
    contrast: Contrast,
    spread: Spread,
    at_base: Spread,
    at_level: Spread,
    explanation: Explanation | None,
) -> str:
    """Where the first axis' effect depends on the second, and by how much."""
    first, second = contrast.changes
    text = (
        f"{change_text(first)}: {label(response)} {spread_text(at_base, response)} with "
        f"{second.axis} {level_text(second.base)} but {spread_text(at_level, response)} with "
        f"{second.axis} {level_text(second.level)}"
    )
    leading = explanation.leading() if explanation is not None else ()
    if explanation is not None and leading:
        named = " and ".join(
            f"{PART_NAMES[part]} ({percent(_rounded(explanation.shares[part]))})"
            for part in leading
        )
        text += f"; what differs is {named}"
    factor = f"{number(spread.value)}×" if response.scale == "ratio" else ""
    return f"{text}{f' (a factor of {factor})' if factor else ''}."


def label(response: Response) -> str:
    """`TTFT p99`, `Output throughput`, `KV waste`."""
    metric, stat = response.name.split(".")
    if metric in ("kv", "counters", "quality", "running"):
        return label_of(stat) if metric != "running" else f"Requests running, {stat}"
    return label_of(metric) if stat in ("window", "run") else f"{label_of(metric)} {stat}"


def change_text(change: Change) -> str:
    return f"{change.axis} {level_text(change.base)} → {level_text(change.level)}"


def spread_text(spread: Spread, response: Response) -> str:
    """ "−38 % [−45, −30]", "4.1× [3.8, 4.4]" from twofold on, "−88 points [−89, −87]"."""
    interval = ""
    if spread.low is not None and spread.high is not None:
        low, high = (_bare(end, response.scale, response.unit, spread.value) for end in (spread.low, spread.high))
        interval = f" [{low}, {high}]"
    unit = "×" if response.scale == "ratio" and spread.value >= 2 else " %"
    if response.scale == "difference":
        unit = " points" if response.unit == "share" else f" {response.unit}"
    return f"{_bare(spread.value, response.scale, response.unit, spread.value)}{unit}{interval}"


def _bare(value: float, scale: Scale, unit: str, effect: float) -> str:
    if scale == "ratio" and effect >= 2:
        return number(value)
    change = 100 * (value - 1) if scale == "ratio" else value * (100 if unit == "share" else 1)
    # A tenth of a percent is as much as any interval here can tell.
    return ("+" if change > 0 else "") + number(float(f"{change:.1f}") if abs(change) < 10 else float(round(change)))


def _through(
    response: Response, spread: Spread, explanation: Explanation | None, seen: _Seen
) -> str:
    if response.name == WASTE.name:
        return _waste(spread, seen)
    if explanation is None:
        return "none of queueing, interference, KV capacity and preemption explains it"
    leading = explanation.leading()
    if not leading:
        part = max(explanation.shares, key=lambda one: explanation.shares[one])
        return (
            "no mechanism accounts for half of it; the most is "
            f"{PART_NAMES[part]}, {percent(_rounded(explanation.shares[part]))}"
        )
    change = math.log(spread.value) if response.scale == "ratio" else spread.value
    return " and ".join(
        _part(part, change * explanation.shares[part], explanation.shares[part], seen)
        for part in leading
    )


def _part(part: str, change: float, share: float, seen: _Seen) -> str:
    """change: of the response's logarithm, through this part alone."""
    of_it = f"({percent(_rounded(share))} of it)"
    if part == "queue":
        return f"queueing {of_it}: mean queue {_arrow('queue_s', seen)}, {_why_queue(seen)}"
    if part == "interference":
        spanned = " → ".join(percent(_rounded(share)) for share in seen.of("spanned_share"))
        return (
            f"interference of prefill with decode {of_it}: prompts add "
            f"{_arrow('interference_s', seen)} to a token and lengthen {spanned} of them"
        )
    if part == "preemption":
        before, after = seen.of("preemptions")
        shares = " → ".join(percent(share) for share in seen.of("recomputed_share"))
        return (
            f"preemption {of_it}: {number(round(before))} → {number(round(after))} a run, "
            f"{shares} of the tokens recomputed"
        )
    if part == RUNNING:
        return f"{_capacity(seen)} {of_it}: {number(seen.running)}× as many requests run at a time"
    if part == "decode":
        return _decode(change, of_it, seen)
    return (
        f"not through queueing, interference, KV capacity or preemption {of_it}: prompts take longer "
        "or shorter from their first step to their first token"
    )


def _decode(change: float, of_it: str, seen: _Seen) -> str:
    """Decodes slow down when more of them share a step; if they do not, it is the step itself."""
    took = f"a token takes {_arrow('decode_s', seen)} without prompts"
    shared = math.log(seen.running)
    if shared * change > 0 and abs(shared) >= abs(change) / 2:
        return f"{_capacity(seen)} {of_it}: {number(seen.running)}× as many requests share a step, and {took}"
    return (
        f"not through queueing, interference, KV capacity or preemption {of_it}: the decode steps "
        f"themselves changed, {took}"
    )


def _why_queue(seen: _Seen) -> str:
    """A queue is as long as places are few and kept for long."""
    before, after = seen.of("queue_s")
    shorter = -1.0 if after > before else 1.0
    by_running = shorter * math.log(seen.running)
    by_pace = -shorter * math.log(seen.residence)
    if max(by_running, by_pace) < NOTABLE:
        return "though as many run at a time, as fast: other work goes first"
    if by_running >= by_pace:
        return f"because {number(seen.running)}× as many requests run at a time"
    return f"because a request keeps its place {number(seen.residence)}× as long"


def _waste(spread: Spread, seen: _Seen) -> str:
    running = math.log(seen.running)
    if running * spread.value < 0 and abs(running) >= NOTABLE:
        return f"KV capacity: {number(seen.running)}× as many requests run at a time"
    return f"KV capacity, which did not bind: {number(seen.running)}× as many requests run at a time"


def _capacity(seen: _Seen) -> str:
    """Memory is the reason if, where fewer run, requests wait although the batch has room."""
    blocked = seen.of("blocked_share")[0 if seen.running > 1 else 1]
    return "KV capacity" if blocked >= BLOCKED else "concurrency"


def _cost(response: Response, spread: Spread, seen: _Seen) -> str:
    """What an improvement was paid for with."""
    improves = (spread.value < (1 if response.scale == "ratio" else 0)) == (response.better == "lower")
    before, after = seen.of("preemptions")
    extra = round(after - before)
    if not improves or extra < 1:
        return ""
    share = seen.of("recomputed_share")
    return (
        f"; cost: {plural(extra, 'preemption')} more a run, {percent(share[0])} → "
        f"{percent(share[1])} of the tokens recomputed"
    )


def _arrow(name: str, seen: _Seen) -> str:
    before, after = seen.of(name)
    return f"{seconds(before)} → {seconds(after)}"


def _rounded(share: float) -> float:
    return round(share, 2)
