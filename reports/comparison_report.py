"""What is said about runs side by side, in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import headline, kv_charts, latency_charts, latency_parts, step_charts, tables
from .comparison_headline import DECIDED
from .comparison_overview import overview, tiles
from .comparison_tables import difference_table, metric_table, pairs_table, runs_table
from .explained import explained_table, headline_explanation
from .facts import NOT_SAID, keeps_to_itself, simulated_on
from .format import listed, plural
from .load_text import load_text
from .model import (
    Badge,
    Comparison,
    Note,
    Report,
    Run,
    Section,
    Table,
    present,
)
from .place import Place
from .simulated import premise_of

COMPARABLE = Badge("Comparable", "✓", "good")
WITH_CARE = Badge("Compare with care", "!", "caution")
NOT_COMPARABLE = Badge("Not comparable", "✕", "bad")

# More settings than this are left to their table.
_MOST_NAMED = 8


def comparison_report(runs: Sequence[Run], comparison: Comparison) -> Report:
    """Everything a report says about runs side by side.

    runs: in the order of `comparison.runs`; ValueError if they are others.
    """
    if tuple(run.name for run in runs) != comparison.runs:
        raise ValueError(f"runs {[run.name for run in runs]} are not {list(comparison.runs)}")
    notes = _notes(runs, comparison)
    return Report(
        title=" vs ".join(comparison.runs),
        subtitle=f"{_counted(comparison)}; ratios are to the baseline, {comparison.baseline}",
        badge=_badge(notes),
        verdict=comparison.statement,
        statements=tuple(
            filter(
                None,
                (
                    comparison.undecided,
                    headline_explanation(runs, comparison),
                    _what_was_sent(runs, comparison),
                    _what_differs(runs, comparison),
                    _what_is_drawn(comparison),
                ),
            )
        ),
        figures=tiles(comparison),
        overview=overview(comparison),
        notes=(*notes, *_stand_ins(runs), *_quality_text(runs)),
        sections=tuple(section for section in _sections(runs, comparison) if section.parts),
        premise=_premise(runs),
        footer=" · ".join(f"{run.name}: run {run.result['run_id']}" for run in runs),
    )


def _premise(runs: Sequence[Run]) -> str:
    """Which runs were not measured, and how wrong they may be."""
    simulated = ((run, simulated_on(run)) for run in runs)
    return premise_of(
        (f"{run.name} ({machine})", run.result["simulation"]["error"])
        for run, machine in simulated
        if machine is not None
    )


def _badge(notes: Sequence[Note]) -> Badge:
    if any(note.tone == "bad" for note in notes):
        return NOT_COMPARABLE
    return WITH_CARE if notes else COMPARABLE


def _notes(runs: Sequence[Run], comparison: Comparison) -> tuple[Note, ...]:
    """What speaks against the comparison, the worst first."""
    notes = [
        Note(
            f"{run.name} is {headline.badge(run).word.lower()}: its numbers must not be compared.",
            "bad",
        )
        for run in runs
        if headline.badge(run).tone == "bad"
    ]
    return (*notes, *(Note(warning, "caution") for warning in comparison.warnings))


def _stand_ins(runs: Sequence[Run]) -> Iterator[Note]:
    """What engines are like; of a run whose choices are its own, nothing."""
    by_engine: dict[str, list[Run]] = {}
    for run in runs:
        by_engine.setdefault(run.result["config"]["engine"], []).append(run)
    for engine, its in by_engine.items():
        told = [run for run in its if run.result["config"].get("stands_for")]
        if told:
            whose = "" if len(told) == len(its) else f" in {listed([run.name for run in told])}"
            text = told[0].result["config"]["stands_for"]
            yield Note(f"“{engine}”{whose} stands for {text}.")


def _quality_text(runs: Sequence[Run]) -> tuple[Note, ...]:
    """What perplexity and the distance on text were measured on; a sentence for each kind."""
    measured = (run.result.get("quality") for run in runs)
    texts = (tables.quality_text(found) for found in measured if found and found["perplexity"])
    return tuple(
        Note(f"Perplexity and what is measured on the text: {text}.")
        for text in dict.fromkeys(texts)
    )


def _counted(comparison: Comparison) -> str:
    if comparison.between is None:
        return plural(len(comparison.runs), "run")
    each = zip(comparison.runs, comparison.between.runs, strict=True)
    return ", ".join(f"{name} run {count} times" for name, count in each)


def _what_is_drawn(comparison: Comparison) -> str:
    """A chart of a run is of one of several."""
    if comparison.between is None:
        return ""
    shown = " and ".join(dict.fromkeys(comparison.between.shown))
    return (
        f"Values are means over runs; charts, steps and parts of latencies are of {shown} of each."
    )


def _what_was_sent(runs: Sequence[Run], comparison: Comparison) -> str:
    if comparison.between is not None:
        if comparison.same_requests:
            return "Both runs of a pair were sent the same requests."
        return "The runs of the two sides were not sent the same requests."
    if comparison.same_requests is None:
        silent = [run.name for run in runs if run.result["config"].get("batching") == NOT_SAID]
        do = "does" if len(silent) == 1 else "do"
        return f"Whether the runs were sent the same requests, {listed(silent)} {do} not say."
    if comparison.same_requests:
        return f"Every run was sent the same requests: {load_text(runs[0].result)}."
    return "The runs were not sent the same requests."


def _what_differs(runs: Sequence[Run], comparison: Comparison) -> str:
    """A cause is named only where there is one difference, and something to explain by it."""
    fields = [difference.field for difference in comparison.differing_config]
    is_all = comparison.same_requests and not comparison.differences
    names = ", ".join(fields)
    if any(map(keeps_to_itself, runs)):
        if not fields:
            return "The runs have the same configuration as far as they say it."
        count = f"{len(fields)} differ" if len(fields) > 1 else "one differs"
        named = f": {names}" if len(fields) <= _MOST_NAMED else ""
        return f"Of the settings that runs say, {count}{named}."
    if not fields:
        same = "The runs have the same configuration"
        return f"{same}." if is_all else f"{same}, and differ in something else."
    if len(fields) > _MOST_NAMED:
        return f"{len(fields)} settings differ: the table of settings has them."
    if len(fields) > 1:
        return f"{len(fields)} settings differ: {names}."
    ratios = (ratio for row in comparison.rows for ratio in row.ratios)
    if is_all and any(one is not None and one.verdict in DECIDED for one in ratios):
        return f"One setting differs, {names}: what is better or worse has that cause."
    return f"One setting differs: {names}."


def _undecided(comparison: Comparison) -> dict[str, set[str]]:
    """By metric, the runs of which no verdict says how its mean compares with the baseline's."""
    found = {"ttft": set(comparison.runs), "tpot": set(comparison.runs)}
    for row in comparison.rows:
        if row.id in found and row.stat == "mean":
            for name, ratio in zip(comparison.runs, row.ratios, strict=True):
                if ratio is not None and ratio.verdict in (*DECIDED, "same"):
                    found[row.id].discard(name)
    return found


def _settings(runs: Sequence[Run], comparison: Comparison) -> Table | None:
    return difference_table(comparison, all_said=not any(map(keeps_to_itself, runs)))


def _sections(runs: Sequence[Run], comparison: Comparison) -> tuple[Section, ...]:
    places = Place.side_by_side(runs)
    return (
        Section("why", "Why", present(explained_table(runs, comparison))),
        Section(
            "metrics",
            "Side by side",
            present(metric_table(comparison), pairs_table(comparison)),
        ),
        Section("differences", "What differs", present(_settings(runs, comparison))),
        Section("latency", "Latency", latency_charts.distributions(runs)),
        Section(
            "parts", "Where latency went", latency_parts.compared(runs, _undecided(comparison))
        ),
        Section("steps", "Steps", present(*(step_charts.timeline(place) for place in places))),
        Section("queues", "Queues", present(*(step_charts.queues(place) for place in places))),
        Section(
            "time",
            "Time",
            present(step_charts.step_time(runs, same_requests=comparison.same_requests)),
        ),
        Section("kv", "KV memory", present(*(kv_charts.kv_usage(place) for place in places))),
        Section("runs", "The runs", (runs_table(runs),)),
        Section("glossary", "Glossary", (tables.glossary(),)),
    )
