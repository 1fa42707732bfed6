"""What a comparison comes to, in a sentence: the same on a terminal, in a report and in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .comparison_tables import ratio_text, row_label
from .format import listed
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
SAID: dict[Verdict, str] = {
    "better": "better in",
    "worse": "worse in",
    "same": "the same in",
    "inconclusive": "inconclusive in",
}
DECIDED: tuple[Verdict, ...] = ("better", "worse")

Found = Sequence[tuple[str, Ratio]]


def headline(
    names: Sequence[str], rows: Sequence[MetricComparison], same_run: Mapping[str, str]
) -> str:
    """Each run against the first of `names`, by the statistics of `ANSWER`. Of several runs, what
    was decided: what was not is in the table.

    same_run: the runs that are an earlier one over again, and which.
    """
    by_key = {(row.id, row.stat): row for row in rows}
    answer = [by_key[key] for key in ANSWER if key in by_key]
    others = {
        name: [
            (in_sentence(row_label(row)), ratio)
            for row in answer
            if (ratio := row.ratios[at]) is not None
        ]
        for at, name in enumerate(names)
        if at
    }
    if len(others) == 1:
        ((name, found),) = others.items()
        if name in same_run:
            return f"{name} is the same run as {same_run[name]}: there is nothing to compare."
        return f"{name} against {names[0]}: {_of_one(found)}."
    by_text: dict[str, list[str]] = {}
    for name, found in others.items():
        text = f"the same run as {same_run[name]}" if name in same_run else _decided(found)
        by_text.setdefault(text, []).append(name)
    each = (
        f"{listed(who)} {'are' if len(who) > 1 else 'is'} {text}" for text, who in by_text.items()
    )
    return f"Against {names[0]}, {'; '.join(each)}."


def _of_one(found: Found) -> str:
    if not found:
        return "nothing in common was measured"
    if reason := _only_reason(found):
        return f"nothing is decided, since {reason}"
    return "; ".join(_said(found))


def _said(found: Found) -> Iterator[str]:
    """ "better in TTFT p50 (0.83×)", "inconclusive in TPOT p50 (1.30×), since …"."""
    for verdict in SAID:
        by_reason: dict[str, list[str]] = {}
        for label, ratio in found:
            if ratio.verdict == verdict:
                by_reason.setdefault(ratio.too_little, []).append(
                    f"{label} ({ratio_text(ratio.value)}×)"
                )
        for reason, named in by_reason.items():
            yield f"{SAID[verdict]} {', '.join(named)}{f', since {reason}' if reason else ''}"


def _decided(found: Found) -> str:
    decided = [(label, ratio) for label, ratio in found if ratio.verdict in DECIDED]
    if decided:
        return " and ".join(_said(decided))
    reason = _only_reason(found)
    return f"not told apart{f', since {reason}' if reason else ''}"


def _only_reason(found: Found) -> str:
    """Why all of it is undecided, whatever the intervals; empty unless it is one reason."""
    reasons = {ratio.too_little for _, ratio in found}
    return reasons.pop() if len(reasons) == 1 else ""
