"""What is said about a comparison by turns, in reading order: the verdict, every metric's interval,
the pairs that it stands on, and what was compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ab_charts import forest, pair_charts
from .ab_model import Ab, AbAnswer, AbMetric, AbSide, AbVerdict
from .ab_tables import (
    dropped_table,
    how_table,
    interval_text,
    machine_table,
    settings_of_both,
    sides_table,
    verdict_table,
)
from .format import as_sentence, percent, plural
from .glossary import in_sentence
from .model import Badge, Note, Report, Section, present
from .tables import glossary

REGRESSED = Badge("Regressed", "▼", "bad")
UNDECIDED = Badge("Inconclusive", "?", "caution")
PASSED = Badge("Passed", "✓", "good")
IMPROVED = Badge("Improved", "▲", "good")
INVALID = Badge("Invalid", "✕", "bad")
PARTIAL = Badge("Partial", "✕", "bad")
Judged = tuple[AbMetric, AbAnswer]


def ab_report(ab: Ab) -> Report:
    """Everything a report says about a comparison by turns."""
    return Report(
        title="A against B",
        subtitle=f"A: {_side(ab.a, ab.b)} · B: {_side(ab.b, ab.a)}",
        badge=_badge(ab),
        verdict=_verdict(ab),
        statements=tuple(_statements(ab)),
        figures=(),
        notes=tuple(_notes(ab)),
        sections=tuple(section for section in _sections(ab) if section.parts),
        footer=ab.command,
        overview=present(verdict_table(ab), forest(ab)),
    )


def _side(side: AbSide, other: AbSide) -> str:
    """Its engine, or all of its options where both have the same one."""
    alike = side.label == other.label and side.options != other.options
    name = side.options if alike and side.options else side.label
    return f"{name} from {side.tree}" if side.tree else name


def _judged(ab: Ab, *verdicts: AbVerdict) -> list[Judged]:
    return [
        (one, one.answer)
        for one in ab.metrics
        if one.answer is not None and one.answer.verdict in verdicts
    ]


def _badge(ab: Ab) -> Badge:
    if ab.failure:
        return INVALID if ab.stopped else PARTIAL
    if _judged(ab, "regressed"):
        return REGRESSED
    if _judged(ab, "inconclusive"):
        return UNDECIDED
    return PASSED if _judged(ab, "passed") else IMPROVED


def _verdict(ab: Ab) -> str:
    """The worst that was found, with its intervals; the others by name."""
    if ab.failure:
        proves = (
            "what was measured proves nothing" if ab.stopped else "the comparison was cut short"
        )
        return f"No verdict on whether B is worse than A: {proves}."
    regressed, open_ = _judged(ab, "regressed"), _judged(ab, "inconclusive")
    improved, passed = _judged(ab, "improved"), _judged(ab, "passed")
    if regressed:
        first = f"B is worse than A by more than {_allowed(regressed)}: {_told(regressed)}."
        return _then(first, ("Not decided", open_), ("Passed", passed), ("Improved", improved))
    if open_:
        first = f"Not decided whether B is worse than A by more than {_allowed(open_)}: "
        return _then(f"{first}{_told(open_)}.", ("Passed", passed), ("Improved", improved))
    if not passed:
        return f"B is better than A: {_told(improved)}."
    first = f"B is not worse than A by more than {_allowed(passed)}: {_told(passed)}."
    return f"{first} It is better in {_told(improved)}." if improved else first


def _then(first: str, *others: tuple[str, Sequence[Judged]]) -> str:
    named = (
        f"{word}: {', '.join(in_sentence(one.label) for one, _ in judged)}."
        for word, judged in others
        if judged
    )
    return " ".join((first, *named))


def _allowed(judged: Sequence[Judged]) -> str:
    """ "the 5 % that are allowed", where that is the same for all."""
    shares = {percent(one.allowed) for one, _ in judged}
    return f"the {shares.pop()} allowed" if len(shares) == 1 else "is allowed"


def _told(judged: Sequence[Judged]) -> str:
    return "; ".join(f"{in_sentence(one.label)} {interval_text(answer)}" for one, answer in judged)


def _statements(ab: Ab) -> Iterator[str]:
    ended = f": {ab.stopped}" if ab.stopped else ", and it did not come to its end"
    yield (
        f"{plural(len(ab.counted), 'pair')} of trials of {plural(ab.num_requests, 'request')}, "
        f"the sides taking turns{ended}."
    )
    if not ab.failure:
        yield (
            "In brackets, the interval that a verdict goes by: the chance that any verdict here is "
            f"wrong is at most {percent(ab.error_rate)}."
        )


def _notes(ab: Ab) -> Iterator[Note]:
    if ab.failure:
        yield Note(as_sentence(ab.failure), "bad")
        if ab.pairs:
            yield Note("What was measured until then is drawn below, and judged by nothing.")
    for text in ab.cautions:
        yield Note(as_sentence(text), "caution")
    for one in ab.metrics:
        if one.answer is not None and _is_against(one.answer):
            yield Note(
                f"The median trials of {in_sentence(one.label)} lie the other way than B / "
                "A: what the machine did from turn to turn is in them, and not in pairs."
            )


def _is_against(answer: AbAnswer) -> bool:
    return (answer.ratio - 1) * (answer.b - answer.a) < 0


def _sections(ab: Ab) -> tuple[Section, ...]:
    return (
        Section(
            "pairs",
            "Pair by pair",
            present(*pair_charts(ab), dropped_table(ab)),
            "Both trials of a pair are sent the same requests, one right after the other; each "
            "pair has requests of its own. These, and what the machine does meanwhile, move both "
            "trials, and their ratio little.",
        ),
        Section(
            "compared",
            "What was compared",
            (sides_table(ab), settings_of_both(ab), how_table(ab), machine_table(ab)),
        ),
        Section("glossary", "Glossary", (glossary(),)),
    )
