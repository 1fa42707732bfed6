"""Why a latency differs between two runs: which of its parts changed, and what the engines did.

A latency is the sum of its parts (`harness/attribution/`), so its change is the sum of theirs. The
part that carries the change is named with what the engine did that makes such a part: how many
requests ran at a time for the queue, how often a prompt stood before a decode for the gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .comparison_tables import row_label
from .effect_text import effect_text
from .format import addends, count, percent, scale_of, size
from .glossary import PARTS
from .model import Comparison, MetricComparison, Ratio, Run, Table
from .tables import table

Parts = Mapping[str, float]
Result = Mapping[str, Any]

# Parts that together carry this much of a change are its explanation.
ENOUGH = 0.5
_WASTE_WORTH_A_WORD = 0.1
_LABELS = {part.id: part.label.lower() for part in PARTS}
_HEADLINES = (("ttft", "p99"), ("itl", "p99"))
_SLOWEST = "slowest 1\u00a0%"


@dataclass(frozen=True)
class Explained:
    """One difference.

    latency: metric and statistic; label: the same in words. change: the ratio, with its interval.
    where: the parts that carry it. why: what the engines did; empty where nothing was counted.
    """

    run: str
    latency: tuple[str, str]
    label: str
    change: str
    where: str
    why: str

    @property
    def sentence(self) -> str:
        return f"{self.label} {self.change}: {_listed(self.where, self.why)}"


def explanations(runs: Sequence[Run], comparison: Comparison) -> tuple[Explained, ...]:
    """Every latency that is better or worse than the baseline's, explained; those that are the
    same, inconclusive or not split into parts are left out."""
    base = comparison.runs.index(comparison.baseline)
    return tuple(
        found
        for at, run in enumerate(runs)
        if at != base
        for row in comparison.rows
        if (found := _explained(row, row.ratios[at], runs[base], run)) is not None
    )


def headline_explanation(runs: Sequence[Run], comparison: Comparison) -> str:
    """Of two runs, what explains the slowest first tokens and the slowest gaps, in a sentence
    each; empty where neither differs, or there are more runs."""
    if len(runs) != 2:
        return ""
    found = (one for one in explanations(runs, comparison) if one.latency in _HEADLINES)
    return " ".join(f"{one.sentence}." for one in found)


def explained_table(runs: Sequence[Run], comparison: Comparison) -> Table | None:
    """The explanations, a row each; None if there are none."""
    found = explanations(runs, comparison)
    if not found:
        return None
    several = len(runs) > 2
    return table(
        "explained",
        "What explains the differences",
        (*(("Run",) if several else ()), "Difference", "Change", "Where it went", "Why"),
        [
            (*((one.run,) if several else ()), one.label, one.change, one.where, one.why or "—")
            for one in found
        ],
        words=("Run", "Difference", "Change", "Where it went", "Why"),
        note="A latency is the sum of its parts, so its change is the sum of theirs. In brackets: "
        "the interval of the change. Of a p99, the parts are the means of the slowest hundredth.",
    )


def _explained(
    row: MetricComparison, ratio: Ratio | None, before: Run, after: Run
) -> Explained | None:
    if ratio is None or ratio.verdict not in ("better", "worse"):
        return None
    was, now = _parts(row, before.result), _parts(row, after.result)
    if was is None or now is None:
        return None
    where, leading = _where(was, now)
    whys = [_WHY[part](before.result, after.result) for part in leading if part in _WHY]
    return Explained(
        run=after.name,
        latency=(row.id, row.stat),
        label=row_label(row),
        change=effect_text(ratio.value, ratio.low, ratio.high, "ratio", row.unit),
        where=f"in the {_SLOWEST}, {where}" if row.stat == "p99" else where,
        why=_listed(*dict.fromkeys(whys)),
    )


def _parts(row: MetricComparison, result: Result) -> Parts | None:
    """What a row's latency is made of; None where it was not split."""
    found = result.get("attribution")
    if not found:
        return None
    if row.id == "tpot":
        return found["tpot"] if row.stat == "mean" else None
    if row.id not in ("ttft", "itl"):
        return None
    return {band["name"]: band["parts"] for band in found[row.id]}.get(row.stat)


def _where(was: Parts, now: Parts) -> tuple[str, tuple[str, ...]]:
    """The change in words, and the parts that carry it, the largest first."""
    moved = {part.id: now[part.id] - was[part.id] for part in PARTS}
    whole = sum(moved.values())
    scale = scale_of("s", [whole, *moved.values()])
    sizes = [scale.factor * abs(change_s) for change_s in moved.values()]
    shown = dict(zip(moved, addends(scale.factor * abs(whole), sizes), strict=True))

    def change(part: str) -> str:
        return f"{_LABELS[part]} {_sign(moved[part])}{shown[part]}"

    # In the direction of the whole, the largest first.
    along = [part for part in moved if moved[part] * whole > 0]
    along.sort(key=lambda part: -abs(moved[part]))
    leading: list[str] = []
    for part in along:
        leading.append(part)
        if sum(moved[one] for one in leading) / whole >= ENOUGH:
            break
    against = [part for part in moved if moved[part] * whole < 0]
    most = max(against, key=lambda part: abs(moved[part]), default=None)
    text = ", ".join(map(change, leading))
    text += f" of {_sign(whole)}{scale.quantity(abs(whole))}"
    # What pulled the other way is worth a word only if it hid a good part of the change.
    if most is not None and abs(moved[most]) >= abs(whole) / 4:
        text += f", against {change(most)}"
    return text, tuple(leading)


def _sign(value: float) -> str:
    return "+" if value >= 0 else "\u2212"


def _others_prefill(was: Result, now: Result) -> str:
    delayed = [percent(one["attribution"]["delayed_decode_step_share"]) for one in (was, now)]
    return _listed(
        _change(delayed, "another's prefill delayed {} of the steps with decodes"),
        _prompt_tokens_a_step(was, now),
    )


def _queue(was: Result, now: Result) -> str:
    running = [one["metrics"].get("batch_requests", {}).get("stats", {}) for one in (was, now)]
    if not all("mean" in one for one in running):
        return ""
    text = _change((_number(one["mean"]) for one in running), "{} requests a step")
    before, after = ((one.get("kv") or {}).get("waste_share") for one in (was, now))
    if before is None or after is None or abs(after - before) < _WASTE_WORTH_A_WORD:
        return text
    return _listed(
        text, _change((percent(before), percent(after)), "{} of the KV memory taken was waste")
    )


def _own_prefill(was: Result, now: Result) -> str:
    hits = [count(one["counters"]["prefix_hit_tokens"]) for one in (was, now)]
    return _listed(
        _change(hits, "{} prompt tokens were found in the prefix cache"),
        _prompt_tokens_a_step(was, now),
    )


def _prompt_tokens_a_step(was: Result, now: Result) -> str:
    return _change((_a_step("prefill", one) for one in (was, now)), "{} prompt tokens a prefill")


def _decode(was: Result, now: Result) -> str:
    text = _change((_a_step("decode", one) for one in (was, now)), "{} decodes a step")
    weights = [size((one.get("memory") or {}).get("weight_bytes")) for one in (was, now)]
    return _listed(text, _change(weights, "a step reads {} of weights"))


def _a_step(phase: str, result: Result) -> str:
    """Tokens of a phase, for each step that had any of it."""
    counters = result["counters"]
    steps = counters[f"{phase}_steps"] + counters["mixed_steps"]
    return _number(counters[f"{phase}_tokens"] / steps if steps else 0.0)


def _preemption(was: Result, now: Result) -> str:
    counters = [one["counters"] for one in (was, now)]
    return _listed(
        _change((count(one["preemptions"]) for one in counters), "{} preemptions"),
        _change((count(one["recomputed_tokens"]) for one in counters), "{} tokens computed again"),
    )


def _change(values: Iterable[str], text: str) -> str:
    """Empty if the second value is the first."""
    was, now = values
    return "" if was == now else f"{text.format(now)}, was {was}"


def _listed(*texts: str) -> str:
    return "; ".join(filter(None, texts))


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else count(value)


_WHY: Mapping[str, Callable[[Result, Result], str]] = {
    "queue_s": _queue,
    "own_prefill_s": _own_prefill,
    "others_prefill_s": _others_prefill,
    "decode_s": _decode,
    "preemption_s": _preemption,
}
