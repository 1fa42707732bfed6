"""Why a latency differs between two runs: which of its parts changed, and what the engines did.

A latency is the sum of its parts (`harness/attribution/`), so its change is the sum of theirs. The
part that carries the change is named with what the engine did that makes such a part longer or
shorter (`reasons.py`): how many requests ran at a time for the queue, how often a prompt stood
before a decode for the gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .effect_text import effect_text
from .format import addends, listed, scale_of
from .glossary import PARTS
from .model import Comparison, MetricComparison, Ratio, Run, Table
from .reasons import UNEXPLAINED, why
from .tables import table

Parts = Mapping[str, float]
Result = Mapping[str, Any]

# Parts that together carry this much of a change are its explanation.
ENOUGH = 0.5
_LABELS = {part.id: part.label.lower() for part in PARTS}
_HEADLINES = (("ttft", "p99"), ("itl", "p99"))
_SLOWEST = "slowest 1\u00a0%"


@dataclass(frozen=True)
class Explained:
    """One difference.

    latency: metric and statistic; label: the same in words. change: the ratio, with its interval.
    where: the parts that carry it. why: what the engines did, or that no counter shows it.
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
    same, inconclusive or not split into parts are left out, and those whose parts went the other
    way."""
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
            (*((one.run,) if several else ()), one.label, one.change, one.where, one.why)
            for one in found
        ],
        words=("Run", "Difference", "Change", "Where it went", "Why"),
        note="A latency is the sum of its parts, so its change is the sum of theirs. In brackets: "
        "the interval of the change. Of a p99, the parts are the means of the slowest hundredth; "
        "where those went the other way, they do not explain it, and it has no row.",
    )


def _explained(
    row: MetricComparison, ratio: Ratio | None, before: Run, after: Run
) -> Explained | None:
    if ratio is None or ratio.verdict not in ("better", "worse"):
        return None
    was, now = _parts(row, before.result), _parts(row, after.result)
    if was is None or now is None or _grew(was, now) != (ratio.value > 1):
        return None
    where, leading = _where(was, now)
    return Explained(
        run=after.name,
        latency=(row.id, row.stat),
        label=row.label,
        change=effect_text(ratio.value, ratio.low, ratio.high, "ratio", row.unit),
        where=f"in the {_SLOWEST}, {where}" if row.stat == "p99" else where,
        why=_why(row.id, leading, (before, after), (was, now)),
    )


def _why(
    metric: str, leading: Sequence[str], runs: tuple[Run, Run], parts: tuple[Parts, Parts]
) -> str:
    """What moved the parts that carry a change, and which of them nothing that was counted did."""
    was, now = parts
    whys = {part: why(part, metric, runs, (was[part], now[part])) for part in leading}
    without = [_LABELS[part] for part, found in whys.items() if not found]
    unexplained = ""
    if without:
        all_ = len(without) == len(whys)
        unexplained = UNEXPLAINED if all_ else f"no counter explains {listed(without)}"
    return _listed(*dict.fromkeys(whys.values()), unexplained)


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


def _grew(was: Parts, now: Parts) -> bool:
    """Whether the parts together grew. A percentile may fall while the mean of what lies beyond it,
    which its parts are of, rises: they explain nothing then."""
    return sum(now.values()) > sum(was.values())


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


def _listed(*texts: str) -> str:
    return "; ".join(filter(None, texts))
