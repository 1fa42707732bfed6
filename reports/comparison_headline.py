"""What a comparison comes to, in a sentence: the same on a terminal, in a report and in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .comparison_tables import ratio_text, row_labels
from .format import listed, plural
from .glossary import in_sentence
from .model import MetricComparison, Ratio, Verdict

# What decides most choices.
ANSWER = (
    ("output_throughput", "window"),
    ("ttft", "p99"),
    ("tpot", "p50"),
    ("e2el", "p50"),
    ("kv", "waste_share"),
)
# That and a little more: the key figures.
FIGURES = (
    ("output_throughput", "window"),
    ("ttft", "p50"),
    ("ttft", "p99"),
    ("tpot", "p50"),
    ("tpot", "p99"),
    ("e2el", "p50"),
    ("e2el", "p99"),
    ("kv", "waste_share"),
)
SAID: dict[Verdict, str] = {
    "better": "better in",
    "worse": "worse in",
    "same": "the same in",
}
DECIDED: tuple[Verdict, ...] = ("better", "worse")
# Of what is worse beside the key figures so much is named, and the rest counted. What an engine
# counted or held is no answer by itself: it is counted alone.
_MOST_NAMED = 3
_NOT_NAMED = ("counters", "memory")
_NOT_TOLD_APART = "not told apart"


@dataclass(frozen=True)
class _Found:
    """One run against the first. told: what the sentence says one by one. more: how many further
    rows are worse."""

    told: Sequence[tuple[str, Ratio]]
    more: int = 0


@dataclass(frozen=True)
class Headline:
    """statement: a sentence. undecided: what stands under it, see `Comparison`."""

    statement: str
    undecided: str = ""


def headline(
    names: Sequence[str], rows: Sequence[MetricComparison], same_run: Mapping[str, str]
) -> Headline:
    """Each run against the first of `names`: the statistics of `ANSWER`, those of `FIGURES` that
    are decided, and whatever else is worse, for a sentence without it would recommend it. Of
    several runs, what of the former was decided, and how much else is worse: a sentence that named
    it for each of them would be a page.

    same_run: the runs that are an earlier one over again, and which.
    """
    named = _MOST_NAMED if len(names) == 2 else 0
    others = {name: _found(rows, at, named) for at, name in enumerate(names) if at}
    if len(others) == 1:
        ((name, found),) = others.items()
        if name in same_run:
            return Headline(
                f"{name} is the same run as {same_run[name]}: there is nothing to compare."
            )
        statement, undecided = _of_one(found)
        return Headline(f"{name} against {names[0]}: {statement}.", undecided)
    by_text: dict[str, list[str]] = {}
    by_reason: dict[str, list[str]] = {}
    for name, found in others.items():
        text = f"the same run as {same_run[name]}" if name in same_run else _decided(found)
        by_text.setdefault(text, []).append(name)
        if text == _NOT_TOLD_APART and (reason := _only_reason(found)):
            by_reason.setdefault(reason, []).append(name)
    each = (
        f"{listed(who)} {'are' if len(who) > 1 else 'is'} {text}" for text, who in by_text.items()
    )
    undecided = "; ".join(f"{listed(who)}, since {why}" for why, who in by_reason.items())
    return Headline(
        f"Against {names[0]}, {'; '.join(each)}.",
        f"Not told apart: {undecided}." if undecided else "",
    )


def _found(rows: Sequence[MetricComparison], at: int, most_named: int) -> _Found:
    """at: place of the run among those compared. most_named: of what else is worse."""
    labelled = zip(map(in_sentence, row_labels(rows)), rows, strict=True)
    by_key = {(row.id, row.stat): (label, row.ratios[at]) for label, row in labelled}
    told: list[tuple[str, Ratio]] = []
    for key in FIGURES:
        label, ratio = by_key.pop(key, ("", None))
        if ratio is not None and (key in ANSWER or ratio.verdict in DECIDED):
            told.append((label, ratio))
    worse = [
        (metric, label, ratio)
        for (metric, _), (label, ratio) in by_key.items()
        if ratio is not None and ratio.verdict == "worse"
    ]
    named = [(label, ratio) for metric, label, ratio in worse if metric not in _NOT_NAMED]
    named = named[:most_named]
    return _Found((*told, *named), len(worse) - len(named))


def _of_one(found: _Found) -> tuple[str, str]:
    """What a headline says, and what under it."""
    if not found.told and not found.more:
        return "nothing in common was measured", ""
    by_reason: dict[str, list[str]] = {}
    for label, ratio in found.told:
        if ratio.verdict == "inconclusive":
            why = f", since {ratio.too_little}" if ratio.too_little else ""
            by_reason.setdefault(why, []).append(_named(label, ratio))
    undecided = "; ".join(f"in {', '.join(of)}{why}" for why, of in by_reason.items())
    return (
        "; ".join(_said(found)) or "nothing is decided",
        f"Inconclusive {undecided}." if undecided else "",
    )


def _said(found: _Found) -> Iterator[str]:
    """ "better in TTFT p50 (0.83×)". What is not decided is not among it."""
    for verdict in SAID:
        named = [_named(label, ratio) for label, ratio in found.told if ratio.verdict == verdict]
        text = ", ".join(named)
        if verdict == "worse" and found.more:
            rest = plural(found.more, "more row" if named else "row")
            text = f"{text} and {rest} of the table" if named else f"{rest} of the table"
        if text:
            yield f"{SAID[verdict]} {text}"


def _named(label: str, ratio: Ratio) -> str:
    alone = ", taken alone" if ratio.alone and ratio.verdict in DECIDED else ""
    return f"{label} ({ratio_text(ratio.value)}×{alone})"


def _decided(found: _Found) -> str:
    decided = [(label, ratio) for label, ratio in found.told if ratio.verdict in DECIDED]
    if decided or found.more:
        return " and ".join(_said(_Found(decided, found.more)))
    return _NOT_TOLD_APART


def _only_reason(found: _Found) -> str:
    """Why all of it is undecided, whatever the intervals; empty unless it is one reason."""
    reasons = {ratio.too_little for _, ratio in found.told}
    return reasons.pop() if len(reasons) == 1 else ""
