"""What a comparison comes to, in a sentence: the same on a terminal, in a report and in JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .comparison_tables import row_labels, times_text
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
# counted or held is no answer by itself: it is named only where little of it is worse, and no more.
_MOST_NAMED = 3
_NOT_NAMED = ("counters", "memory")
_NOT_TOLD_APART = "not told apart"
# From so many others on a sentence goes by quantity: each run's ratios make a text of its own.
_MANY = 4
# Of the runs that fared alike so many are named, and the rest counted.
_MOST_RUNS = 4


def keys_shown(
    keys: Iterable[tuple[str, str]], rows: Iterable[MetricComparison]
) -> list[tuple[str, str]]:
    """With a rate of whole runs for that of a window where the rows have both: then not every run
    has a steady window, and what is over one is not held against what is over a whole run."""
    known = {(row.id, row.stat) for row in rows}
    return [
        (metric, "run") if stat == "window" and (metric, "run") in known else (metric, stat)
        for metric, stat in keys
    ]


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
    it for each of them would be a page. Of many, who is better and who is worse in each of
    `ANSWER`.

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
    if len(others) >= _MANY:
        return _of_many(names, rows, others, same_run)
    texts = {
        name: f"the same run as {same_run[name]}" if name in same_run else _decided(found)
        for name, found in others.items()
    }
    return Headline(f"Against {names[0]}, {'; '.join(_each(texts))}.", _undecided(texts, others))


def _each(texts: Mapping[str, str]) -> Iterator[str]:
    """What is said of each run, those of whom the same is said together."""
    by_text: dict[str, list[str]] = {}
    for name, text in texts.items():
        by_text.setdefault(text, []).append(name)
    for text, who in by_text.items():
        yield f"{_who(who)} {'are' if len(who) > 1 else 'is'} {text}"


def _undecided(texts: Mapping[str, str], others: Mapping[str, _Found]) -> str:
    """Why runs are not told apart, where it is one reason."""
    by_reason: dict[str, list[str]] = {}
    for name, text in texts.items():
        if text == _NOT_TOLD_APART and (reason := _only_reason(others[name])):
            by_reason.setdefault(reason, []).append(name)
    undecided = "; ".join(f"{_who(who)}, since {why}" for why, who in by_reason.items())
    return f"Not told apart: {undecided}." if undecided else ""


def _of_many(
    names: Sequence[str],
    rows: Sequence[MetricComparison],
    others: Mapping[str, _Found],
    same_run: Mapping[str, str],
) -> Headline:
    """ "output throughput: better in b, c and d (1.05× to 1.80×), worse in e (0.70×)", a part for
    each of `ANSWER` in which any was decided; and then of whom none was, or more is worse."""
    labelled = zip(map(in_sentence, row_labels(rows)), rows, strict=True)
    by_key = {(row.id, row.stat): (label, row) for label, row in labelled}
    parts: list[str] = []
    moved: set[str] = set()
    answers = keys_shown(ANSWER, rows)
    for label, row in (by_key[key] for key in answers if key in by_key):
        ratios = {
            name: ratio
            for name, ratio in zip(names, row.ratios, strict=True)
            if ratio is not None and name in others and name not in same_run
        }
        sides: dict[Verdict, dict[str, float]] = {
            verdict: {name: one.value for name, one in ratios.items() if one.verdict == verdict}
            for verdict in DECIDED
        }
        moved |= {name for side in sides.values() for name in side}
        said = ", ".join(
            f"{SAID[verdict]} {_who(list(side))} ({_range(side.values())})"
            for verdict, side in sides.items()
            if side
        )
        parts += [f"{label}: {said}"] if said else []
    answered = {by_key[key][0] for key in answers if key in by_key}
    texts = {name: _rest(found, answered, is_told=name in moved) for name, found in others.items()}
    texts |= {name: f"the same run as {one}" for name, one in same_run.items() if name in others}
    rest = "; ".join(_each({name: text for name, text in texts.items() if text}))
    undecided = _undecided(texts, others)
    if not parts:
        return Headline(f"Against {names[0]}, {rest}.", undecided)
    statement = f"Against {names[0]}, {'; '.join(parts)}."
    return Headline(f"{statement} Beside that, {rest}." if rest else statement, undecided)


def _rest(found: _Found, answered: Collection[str], *, is_told: bool) -> str:
    """What is said of a run beside the quantities of `ANSWER`, which are `answered`; empty for
    nothing."""
    elsewhere = {ratio.verdict for label, ratio in found.told if label not in answered}
    if found.more or "worse" in elsewhere:
        return f"worse in {'more' if is_told else 'other'} rows of the table"
    if is_told:
        return ""
    return "better in other rows of the table" if "better" in elsewhere else _NOT_TOLD_APART


def _who(names: Sequence[str]) -> str:
    if len(names) <= _MOST_RUNS:
        return listed(names)
    return f"{', '.join(names[: _MOST_RUNS - 1])} and {len(names) - _MOST_RUNS + 1} more"


def _range(values: Collection[float]) -> str:
    ends = dict.fromkeys(times_text(end) for end in (min(values), max(values)))
    return " to ".join(ends)


def _found(rows: Sequence[MetricComparison], at: int, most_named: int) -> _Found:
    """at: place of the run among those compared. most_named: of what else is worse."""
    labelled = zip(map(in_sentence, row_labels(rows)), rows, strict=True)
    by_key = {(row.id, row.stat): (label, row.ratios[at]) for label, row in labelled}
    told: list[tuple[str, Ratio]] = []
    answers = keys_shown(ANSWER, rows)
    for key in keys_shown(FIGURES, rows):
        label, ratio = by_key.pop(key, ("", None))
        if ratio is not None and (key in answers or ratio.verdict in DECIDED):
            told.append((label, ratio))
    worse = [
        (metric, label, ratio)
        for (metric, _), (label, ratio) in by_key.items()
        if ratio is not None and ratio.verdict == "worse"
    ]
    named = [one for one in worse if one[0] not in _NOT_NAMED][:most_named]
    if not named and len(worse) <= most_named:
        named = worse
    return _Found((*told, *((label, ratio) for _, label, ratio in named)), len(worse) - len(named))


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
    return f"{label} ({times_text(ratio.value)}{alone})"


def _decided(found: _Found) -> str:
    decided = [(label, ratio) for label, ratio in found.told if ratio.verdict in DECIDED]
    if decided or found.more:
        return " and ".join(_said(_Found(decided, found.more)))
    return _NOT_TOLD_APART


def _only_reason(found: _Found) -> str:
    """Why all of it is undecided, whatever the intervals; empty unless it is one reason."""
    reasons = {ratio.too_little for _, ratio in found.told}
    return reasons.pop() if len(reasons) == 1 else ""
