"""What is said about a history, in reading order: what stepped, then every quantity over time."""

from __future__ import annotations

from collections.abc import Iterator

from .comparison_tables import WORDS
from .effect_text import effect_text, response_label
from .format import moment, number, plural, scale_of
from .glossary import in_sentence
from .history_model import History, HistoryRun, Series, Step, Trend
from .model import Axis, Badge, Cell, Chart, Guide, KeyFigure, Note, Panel, Report, Section, Table
from .model import Series as Drawn
from .tables import glossary, table

STEADY = Badge("No steps", "✓", "good")
TOO_FEW = Badge("Too few runs", "–", "plain")
NOTHING = Badge("Nothing to compare", "–", "plain")
WORSE = Badge("Stepped for the worse", "▼", "bad")
STEPPED = Badge("Stepped", "!", "caution")


def history_report(history: History) -> Report:
    """Everything a report says about a history."""
    return Report(
        title="History",
        subtitle=f"{plural(len(history.series), 'series', 'series')}, "
        f"{plural(sum(len(one.runs) for one in history.series), 'run')}",
        badge=_badge(history),
        verdict=_verdict(history),
        statements=(_how(history),),
        figures=tuple(_key_figures(history)),
        notes=tuple(_notes(history)),
        sections=(
            *(_section(history, at, one) for at, one in enumerate(history.series)),
            *_alone(history),
            *([Section("glossary", "Glossary", (glossary(),))] if history.series else []),
        ),
        footer=history.command,
    )


def _notes(history: History) -> Iterator[Note]:
    for name, why in history.left_out:
        yield Note(f"left out: {name}: {why}", "caution")
    if history.alone:
        yield Note(f"{alone_text(history)}; they are named at the end.")


def _alone(history: History) -> Iterator[Section]:
    """Which they are, after everything: nothing is wrong with them."""
    if history.alone:
        rows = [(name,) for name in history.alone]
        yield Section(
            "alone",
            "Runs that are alone",
            (table("alone-runs", "Their names", ("Run",), rows, folded=True),),
            f"{alone_text(history)}.",
        )


def alone_text(history: History) -> str:
    """One line for all runs that are alone."""
    count = len(history.alone)
    is_alone, its = ("is alone", "its") if count == 1 else ("are alone", "their")
    return (
        f"{plural(count, 'run')} {is_alone}: no other run has {its} settings, requests and hardware"
    )


def steps_of(history: History) -> Iterator[tuple[Series, Trend, Step]]:
    """Every step, series by series."""
    for series in history.series:
        for trend in series.trends:
            for step in trend.steps:
                yield series, trend, step


def trend_label(trend: Trend) -> str:
    return response_label(trend.id, trend.stat)


def change_text(trend: Trend, step: Step) -> str:
    """ "+12 %", "3.40×"; both levels where the first was 0."""
    if step.ratio is None:
        scale = scale_of(trend.unit, (step.before, step.after))
        return f"{scale.number(step.before)} → {scale.quantity(step.after)}"
    return effect_text(step.ratio, None, None, "ratio", trend.unit)


def run_text(run: HistoryRun) -> str:
    """`nightly-7, 2026-01-02 03:04, commit 1a2b3c4d5e`."""
    known = (run.name, moment(run.when), f"commit {run.commit}" if run.commit else "")
    return ", ".join(filter(None, known))


def _badge(history: History) -> Badge:
    if not history.series:
        return NOTHING
    verdicts = {step.verdict for _, _, step in steps_of(history)}
    if not list(steps_of(history)):
        return TOO_FEW if _too_few(history) else STEADY
    return WORSE if "worse" in verdicts else STEPPED


def _verdict(history: History) -> str:
    """The latest step for the worse of each series, or that there is none."""
    if not history.series:
        return "Nothing to compare: no series of two runs."
    worse = [
        (series, trend, step)
        for series, trend, step in steps_of(history)
        if step.verdict == "worse"
    ]
    if not worse:
        return _nothing_worse(history)
    series, trend, step = max(worse, key=lambda one: one[0].runs[one[2].index].when)
    return (
        f"{plural(len(worse), 'step')} for the worse; the latest: "
        f"{in_sentence(trend_label(trend))} of {series.name} {change_text(trend, step)} from "
        f"{run_text(series.runs[step.index])} on."
    )


def _nothing_worse(history: History) -> str:
    stepped = any(steps_of(history))
    if not _too_few(history):
        return f"Nothing stepped{' for the worse' if stepped else ''}."
    needs = f"what is measured shows a step from {history.fewest_values} runs of a series on"
    if stepped:
        return f"Nothing stepped for the worse, but there are too few runs to tell: {needs}."
    trends = [trend for series in history.series for trend in series.trends]
    others = "" if all(map(history.too_few, trends)) else "; nothing else stepped"
    return f"Too few runs to tell: {needs}{others}."


def _too_few(history: History) -> bool:
    """Whether any quantity could show no step."""
    return any(history.too_few(trend) for series in history.series for trend in series.trends)


def _how(history: History) -> str:
    return (
        "A measured quantity steps where E-divisive finds a split that at most "
        f"{100 * history.significance:g} % of permutations of the same values equal, or of what is "
        "new in each value where runs are like the one before them, so fewer than "
        f"{history.fewest_values} runs show none; a simulation, and a count of what does not run "
        "by the clock, steps wherever it changes."
    )


def _key_figures(history: History) -> Iterator[KeyFigure]:
    """Of the first series: where each quantity stands, and how it got there."""
    if not history.series:
        return
    for trend in history.series[0].trends[:8]:
        known = [value for value in trend.values if value is not None]
        value, _, unit = scale_of(trend.unit, known).quantity(known[-1]).partition(" ")
        last = trend.steps[-1] if trend.steps else None
        detail = "too few runs to tell" if history.too_few(trend) else "no step"
        if last is not None:
            word = f"{WORDS[last.verdict][0]}: " if last.verdict else ""
            detail = f"{word}{change_text(trend, last)}, {_ago(len(trend.values), last)}"
        yield KeyFigure(trend_label(trend), value, unit, detail)


def _ago(runs: int, step: Step) -> str:
    back = runs - step.index
    return "at the last run" if back == 1 else f"{plural(back, 'run')} ago"


def _section(history: History, at: int, series: Series) -> Section:
    charts = (_chart(at, one, series, few=history.too_few(one)) for one in series.trends)
    parts = (_steps_table(at, series), *charts)
    first, last = series.runs[0], series.runs[-1]
    return Section(
        f"series-{at}",
        series.name,
        tuple(part for part in parts if part is not None),
        f"{plural(len(series.runs), 'run')}, {moment(first.when)} to {moment(last.when)}.",
    )


def _steps_table(at: int, series: Series) -> Table | None:
    rows: list[tuple[str | Cell, ...]] = []
    for trend in series.trends:
        for step in trend.steps:
            scale = scale_of(trend.unit, (step.before, step.after))
            word, tone = WORDS[step.verdict] if step.verdict else ("changed", "quiet")
            run, before = series.runs[step.index], series.runs[_last_before(trend, step)]
            rows.append(
                (
                    trend_label(trend),
                    Cell(f"{word} {change_text(trend, step)}", tone),
                    f"{scale.number(step.before)} → {scale.quantity(step.after)}",
                    run_text(run),
                    _changed(before, run),
                    "exact" if step.p is None else f"p {number(step.p)}",
                )
            )
    if not rows:
        return None
    titles = ("Quantity", "Step", "Level", "First run on the new level", "What changed", "Evidence")
    return table(f"steps-{at}", "Steps", titles, rows, words=titles)


def _last_before(trend: Trend, step: Step) -> int:
    """The place of the last run that is known to be on the old level: between it and the step, some
    may not have the quantity."""
    return max(at for at in range(step.index) if trend.values[at] is not None)


def _changed(before: HistoryRun, run: HistoryRun) -> str:
    """Commits or versions between the last run of the old level and the first of the new."""
    pairs = (("commit", before.commit, run.commit), ("version", before.version, run.version))
    return ", ".join(f"{what} {a} → {b}" for what, a, b in pairs if a != b) or "—"


def _chart(at: int, trend: Trend, series: Series, *, few: bool) -> Chart:
    """few: whether it could show no step."""
    known = [(place, value) for place, value in enumerate(trend.values) if value is not None]
    scale = scale_of(trend.unit, [value for _, value in known])
    label = trend_label(trend)
    points = Drawn(
        label,
        "latency",
        "line",
        tuple(float(place + 1) for place, _ in known),
        tuple(scale.factor * value for _, value in known),
        tuple(run_text(series.runs[place]) for place, _ in known),
    )
    guides = tuple(Guide("x", step.index + 0.5, change_text(trend, step)) for step in trend.steps)
    reading = (
        f"{plural(len(trend.steps), 'step')}: the last {change_text(trend, trend.steps[-1])}."
        if trend.steps
        else ("Too few runs to tell." if few else "No step.")
    )
    return Chart(
        id=f"trend-{at}-{trend.id}-{trend.stat}",
        title=label,
        reading=reading,
        x=Axis("Run", high=float(len(trend.values)) + 0.5),
        panels=(Panel(Axis(label, scale.unit), (points,), guides),),
        width="half",
    )
