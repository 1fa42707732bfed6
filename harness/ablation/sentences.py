"""One sentence an effect: what moved, by how much, through which mechanism, at what cost.

The mechanism is read from the steps: it is the part, or the pair, that accounts for at least half
of the effect (`mechanism.explain`). Where none does, the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...reports.comparison_tables import ratio_text
from ...reports.effect_text import effect_text
from ...reports.format import number, percent, plural, rounded_percent, seconds
from ...reports.glossary import change_text, setting_text
from ...reports.kept_out import QUEUE_BLOCKED
from ...reports.measure import response_label
from .contrasts import Change, Contrast
from .design import Cell
from .effects import EffectEstimate
from .mechanism import (
    PARTS_OF,
    RUNNING,
    TAIL_SHARE,
    Accounted,
    Explanation,
    at_base_and_level,
    peak_ratio,
    quantity_of,
    residence_part,
    residence_ratio,
    running_ratio,
)
from .responses import WASTE, Response, Scale
from .reversal import Reversal

# A factor nearer to 1 than this binds nobody.
NOTABLE = math.log(1.1)
# Near capacity a little more of either shortens a queue by much.
LITTLE = math.log(1.02)
# From this share of the time on, memory is what keeps requests from running.
BLOCKED = 0.1
NONE_OF_THEM = "not through queueing, interference, KV capacity or preemption"
# A share above this is no number to read: the effect is a small rest of large parts.
MOST_SHARE = 1.25
PART_NAMES = {
    "queue": "queueing",
    "own_prefill": "a request's own prompt",
    "others_prefill": "interference of others' prompts",
    "preemption": "preemption",
    "decode": "the decode steps themselves",
    "host": "the host's work around steps",
    "residual": "time that no phase of a step accounts for",
    RUNNING: "requests running at a time",
}


@dataclass(frozen=True)
class _Seen:
    """A main effect and the runs it was seen in."""

    contrast: Contrast
    repeats: Sequence[Mapping[Cell, Accounted]]
    scale: Scale

    def of(self, name: str) -> tuple[float, float]:
        """A number of `Mechanism` at the base and at the level."""
        return at_base_and_level(
            self.contrast, self.repeats, lambda one: float(getattr(one.mechanism, name) or 0.0)
        )

    def time(self, name: str) -> tuple[float, float]:
        """A time of `Mechanism` in seconds, by the mean that the effect is."""
        return self._times(lambda one: getattr(one.mechanism, name))

    def part(self, part: str, response: Response) -> str:
        """How long that part of the response is: "base → level"."""
        of = PARTS_OF[quantity_of(response.name)]
        return _sides(self._times(lambda one: of(one)[part]))

    def _times(self, of: Callable[[Accounted], float]) -> tuple[float, float]:
        return at_base_and_level(self.contrast, self.repeats, of, scale=self.scale)

    @property
    def peak(self) -> float:
        return peak_ratio(self.contrast, self.repeats)

    @property
    def running(self) -> float:
        return running_ratio(self.contrast, self.repeats)

    @property
    def residence(self) -> float:
        return residence_ratio(self.contrast, self.repeats)


def main_sentence(
    response: Response,
    contrast: Contrast,
    spread: EffectEstimate,
    explanation: Explanation | None,
    repeats: Sequence[Mapping[Cell, Accounted]],
    turned: Reversal | None = None,
) -> str:
    """ "admission reserve → optimistic: TTFT mean −38 % [−45, −30]: queueing (92 % of it): …".

    turned: where the effect is a mean of opposites, which.
    """
    seen = _Seen(contrast, repeats, response.scale)
    head = f"{told(contrast.changes[0])}: {label(response)} {spread_text(spread, response)}"
    text = f"{head}: {_through(response, spread, explanation, seen)}{_cost(response, spread, seen)}"
    return f"{text}{_turned(turned, response)}."


def _turned(turned: Reversal | None, response: Response) -> str:
    if turned is None:
        return ""
    sides = " and ".join(
        f"{spread_text(spread, response)} with {setting_text(turned.axis, level)}"
        for spread, level in ((turned.falls, turned.falls_at), (turned.rises, turned.rises_at))
    )
    return f"; but that is the mean of opposites, {sides}"


def interaction_sentence(
    response: Response,
    contrast: Contrast,
    spread: EffectEstimate,
    at_base: EffectEstimate,
    at_level: EffectEstimate,
    explanation: Explanation | None,
) -> str:
    """Where the first axis' effect depends on the second, and by how much."""
    first, second = contrast.changes
    text = (
        f"{told(first)}: {label(response)} {spread_text(at_base, response)} with "
        f"{setting_text(second.axis, second.base)} but {spread_text(at_level, response)} with "
        f"{setting_text(second.axis, second.level)}"
    )
    leading = explanation.leading() if explanation is not None else ()
    if explanation is not None and leading:
        named = " and ".join(
            f"{PART_NAMES[part]} {_of_it(explanation.shares[part])}" for part in leading
        )
        text += f"; what differs is {named}"
    factor = f"{ratio_text(spread.value)}×" if response.scale == "ratio" else ""
    return f"{text}{f' (a factor of {factor})' if factor else ''}."


def label(response: Response) -> str:
    return response_label(*response.name.split("."))


def told(change: Change) -> str:
    return change_text(change.axis, change.base, change.level)


def spread_text(spread: EffectEstimate, response: Response) -> str:
    return effect_text(spread.value, spread.low, spread.high, response.scale, response.unit)


def _through(
    response: Response, spread: EffectEstimate, explanation: Explanation | None, seen: _Seen
) -> str:
    if response.name == WASTE.name:
        return _waste(seen)
    if explanation is None:
        return f"{NONE_OF_THEM}"
    leading = explanation.leading()
    if not leading:
        part = max(explanation.shares, key=lambda one: explanation.shares[one])
        return (
            "no mechanism accounts for half of it; the most is "
            f"{PART_NAMES[part]}, {rounded_percent(explanation.shares[part])}"
        )
    change = math.log(spread.value) if response.scale == "ratio" else spread.value
    return "; and ".join(
        _part(part, change * explanation.shares[part], explanation.shares[part], seen, response)
        for part in leading
    )


def _part(part: str, change: float, share: float, seen: _Seen, response: Response) -> str:
    """change: of the response's logarithm, through this part alone."""
    of_it = _of_it(share)
    if part == "queue":
        return f"queueing {of_it}: {_queue(seen, response)}, {_why_queue(seen)}"
    if part == "others_prefill":
        return f"{PART_NAMES[part]} {of_it}: they add {_interference(seen, response)}"
    if part == "preemption":
        before, after = seen.of("preemptions")
        shares = " → ".join(percent(share) for share in seen.of("recomputed_share"))
        return (
            f"preemption {of_it}: {number(round(before))} → {number(round(after))} a run, "
            f"{shares} of the tokens recomputed"
        )
    if part == RUNNING:
        return (
            f"{_capacity(seen)} {of_it}: {ratio_text(seen.running)}× as many requests run at a time"
        )
    if part == "decode":
        if response.name.startswith("ttft."):
            return f"decodes beside the prompt {of_it}: they take {seen.part(part, response)} of it"
        return _decode(change, of_it, seen)
    return f"{NONE_OF_THEM} {of_it}: {PART_NAMES[part]}, {seen.part(part, response)}"


def _interference(seen: _Seen, response: Response) -> str:
    if response.name.startswith("ttft."):
        which = "a first token" if response.name == "ttft.mean" else _SLOW_FIRST
        return f"{seen.part('others_prefill', response)} to {which}"
    spanned = " → ".join(rounded_percent(share) for share in seen.of("spanned_share"))
    if response.name == "itl.p99":
        worst = seen.part("others_prefill", response)
        return f"{worst} to the slowest 1 % of tokens and stand before {spanned} of all"
    return f"{_arrow('interference_s', seen)} to a token and stand before {spanned} of them"


def _queue(seen: _Seen, response: Response) -> str:
    """How long requests queue: those the response is of."""
    if response.name == "ttft.p99":
        return f"queue of {_SLOW_FIRST} {seen.part('queue', response)}"
    return f"mean queue {_arrow('queue_s', seen)}"


def _of_it(share: float) -> str:
    """How much of the effect; far above all of it, other parts worked against this one."""
    return f"({rounded_percent(share)} of it)" if share <= MOST_SHARE else "(partly offset)"


def _decode(change: float, of_it: str, seen: _Seen) -> str:
    """Decodes slow down when more of them share a step; if they do not, it is the step itself."""
    took = f"a token takes {_arrow('decode_s', seen)} without prompts"
    shared = math.log(seen.running)
    if shared * change > 0 and abs(shared) >= abs(change) / 2:
        more = f"{ratio_text(seen.running)}× as many requests share a step"
        return f"{_capacity(seen)} {of_it}: {more}, and {took}"
    return f"{NONE_OF_THEM} {of_it}: the decode steps themselves changed, {took}"


def _why_queue(seen: _Seen) -> str:
    """A queue is long where few can run at a time, or where each keeps its place for long."""
    before, after = seen.time("queue_s")
    shorter = -1.0 if after > before else 1.0
    by_places = shorter * math.log(seen.peak)
    by_pace = -shorter * math.log(seen.residence)
    open_before, open_after = (1 - share for share in seen.of("closed_share"))
    if shorter * (open_after - open_before) >= BLOCKED:
        shares = " → ".join(rounded_percent(share) for share in seen.of("closed_share"))
        return (
            "because a batch stays closed until its longest member ends (others wait for that "
            f"{shares} of the time)"
        )
    if max(by_places, by_pace) < LITTLE:
        return "though as many run at a time, and each keeps its place as long, within 2 %"
    if by_places >= by_pace:
        blocked = seen.of("blocked_share")[0 if seen.peak > 1 else 1]
        return f"because {'of KV capacity: ' if blocked >= QUEUE_BLOCKED else ''}{_places(seen)}"
    part = residence_part(seen.contrast, seen.repeats)
    through = f" ({PART_NAMES[part]})" if part is not None else ""
    return f"because a request keeps its place {ratio_text(seen.residence)}× as long{through}"


def _waste(seen: _Seen) -> str:
    """Waste matters by whom it keeps out."""
    bound = max(seen.of("blocked_share")) >= QUEUE_BLOCKED
    if abs(math.log(seen.peak)) < NOTABLE and not bound:
        return f"memory that kept nobody out, since {_either_way(seen)}"
    return f"KV capacity: {_places(seen)}"


def _either_way(seen: _Seen) -> str:
    before, after = (number(round(peak, 1)) for peak in seen.of("running_peak"))
    if before == after:
        return f"up to {before} requests ran at a time either way"
    return f"up to {before} requests ran at a time before and {after} after"


def _places(seen: _Seen) -> str:
    """How many could run at a time, and whether it was memory that kept others out."""
    before, after = (number(round(peak, 1)) for peak in seen.of("running_peak"))
    text = f"at most {before} → {after} requests run at a time"
    blocked = seen.of("blocked_share")
    if max(blocked) < QUEUE_BLOCKED:
        return text
    shares = " → ".join(rounded_percent(share) for share in blocked)
    return f"{text} (others wait for memory {shares} of the time)"


def _capacity(seen: _Seen) -> str:
    """Memory is the reason if, where fewer run, requests wait although the batch has room."""
    blocked = seen.of("blocked_share")[0 if seen.running > 1 else 1]
    return "KV capacity" if blocked >= BLOCKED else "concurrency"


def _cost(response: Response, spread: EffectEstimate, seen: _Seen) -> str:
    """What an improvement was paid for with."""
    improves = (spread.value < (1 if response.scale == "ratio" else 0)) == (
        response.better == "lower"
    )
    before, after = seen.of("preemptions")
    extra = round(after - before)
    if not improves or extra < 1:
        return ""
    cost = f"; cost: {plural(extra, 'preemption')} more a run"
    less, more = seen.of("recomputed_share")
    if more > less:
        cost += f", {percent(less)} → {percent(more)} of the tokens recomputed"
    return cost


def _arrow(name: str, seen: _Seen) -> str:
    return _sides(seen.time(name))


def _sides(pair: tuple[float, float]) -> str:
    before, after = pair
    return f"{seconds(before)} → {seconds(after)}"


_SLOW_FIRST = f"the slowest {rounded_percent(TAIL_SHARE)}"
