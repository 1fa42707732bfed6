"""What is said about a history, in reading order: what stepped, then every quantity over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparison_tables import WORDS
from .format import number, plural, scale_of
from .glossary import in_sentence
from .history_model import History, HistoryRun, Series, Step, Trend
from .history_text import (
    alone_text,
    cautions,
    change_text,
    judged_or_all,
    run_text,
    runs_apart,
    span_text,
    steps_of,
)
from .model import (
    Axis,
    Badge,
    Cell,
    Chart,
    Guide,
    KeyFigure,
    Mark,
    Note,
    Panel,
    Report,
    Section,
    Table,
)
from .model import Series as Drawn
from .simulated import premise_of
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
            *(_section(at, one) for at, one in enumerate(history.series)),
            *_alone(history),
            *([Section("glossary", "Glossary", (glossary(),))] if history.series else []),
        ),
        footer=history.command,
        premise=premise_of((one.name, one.simulation_error) for one in history.series),
    )


def _notes(history: History) -> Iterator[Note]:
    for name, why in history.left_out:
        yield Note(f"left out: {name}: {why}", "caution")
    for said in cautions(history):
        yield Note(said, "caution")
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


def _badge(history: History) -> Badge:
    if not any(_trends(history)):
        return NOTHING
    verdicts = {step.verdict for _, _, step in steps_of(history)}
    if not list(steps_of(history)):
        return TOO_FEW if _too_few(history) else STEADY
    return WORSE if "worse" in verdicts else STEPPED


def _verdict(history: History) -> str:
    """The latest step for the worse of each series, or that there is none."""
    if not history.series:
        return "Nothing to compare: no series of two runs."
    if not any(_trends(history)):
        return "Nothing to compare: no two runs of a series have any of the quantities."
    worse = [
        (series, trend, step)
        for series, trend, step in steps_of(history)
        if step.verdict == "worse"
    ]
    if not worse:
        return _nothing_worse(history)
    series, trend, step = max(worse, key=_how_late)
    return (
        f"{plural(len(worse), 'step')} for the worse; the latest: "
        f"{in_sentence(trend.label)} of {series.name} {change_text(trend, step)} from "
        f"{run_text(series.runs[step.index])} on."
    )


def _how_late(found: tuple[Series, Trend, Step]) -> tuple[str, int]:
    """By time; where no time is recorded, by how many runs came after."""
    series, _, step = found
    return series.runs[step.index].when or "", step.index - len(series.runs)


def _nothing_worse(history: History) -> str:
    stepped = any(steps_of(history))
    if not _too_few(history):
        return f"Nothing stepped{' for the worse' if stepped else ''}."
    fewest = max(one.fewest_values for one in _trends(history) if one.too_few)
    needs = f"what is measured shows a step from {fewest} runs of a series on"
    if stepped:
        return f"Nothing stepped for the worse, but there are too few runs to tell: {needs}."
    others = "" if all(one.too_few for one in _trends(history)) else "; nothing else stepped"
    return f"Too few runs to tell: {needs}{others}."


def _too_few(history: History) -> bool:
    """Whether any quantity could show no step."""
    return any(trend.too_few for trend in _trends(history))


def _trends(history: History) -> Iterator[Trend]:
    for series in history.series:
        yield from series.trends


def _how(history: History) -> str:
    return (
        "A measured quantity steps where its values lie on two levels, further apart than chance "
        f"puts them in {100 * history.significance:g} % of series that do not step (E-divisive, "
        "over all measured quantities of a series by Holm, and though runs resemble the one before "
        "them), so that few runs show none; a simulation, and a count of what does not run by the "
        "clock, steps wherever it changes."
    )


def _key_figures(history: History) -> Iterator[KeyFigure]:
    """Of the first series: where each quantity stands, and how it got there."""
    if not history.series:
        return
    for trend in history.series[0].trends[:8]:
        known = judged_or_all(trend)
        text = scale_of(trend.unit, known).quantity(known[-1])
        last = trend.steps[-1] if trend.steps else None
        detail = "too few runs to tell" if trend.too_few else "no step"
        if last is not None:
            word = f"{WORDS[last.verdict][0]}: " if last.verdict else ""
            detail = f"{word}{change_text(trend, last)}, {_ago(len(trend.values), last)}"
        yield KeyFigure.of(trend.label, text, detail)


def _ago(runs: int, step: Step) -> str:
    back = runs - step.index
    return "at the last run" if back == 1 else f"{plural(back, 'run')} ago"


def _section(at: int, series: Series) -> Section:
    charts = (_chart(at, one, series) for one in series.trends)
    parts = (_steps_table(at, series), _disturbed_table(at, series), *charts)
    return Section(
        f"series-{at}",
        series.name,
        tuple(part for part in parts if part is not None),
        f"{span_text(series)}.",
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
                    trend.label,
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


def _disturbed_table(at: int, series: Series) -> Table | None:
    """The runs whose times are drawn apart and enter no test."""
    rows = [(run_text(run), run.disturbed) for run in runs_apart(series)]
    if not rows:
        return None
    titles = ("Run", "Why its times decide nothing")
    return table(f"disturbed-{at}", "Disturbed runs", titles, rows, words=titles, folded=True)


def _last_before(trend: Trend, step: Step) -> int:
    """The place of the last run that is known to be on the old level: between it and the step, some
    may not have the quantity, or were disturbed."""
    return max(at for at, _ in trend.judged if at < step.index)


def _changed(before: HistoryRun, run: HistoryRun) -> str:
    """Commits, versions or drivers between the last run of the old level and the first of the
    new."""
    pairs = (
        ("commit", before.commit, run.commit),
        ("version", before.version, run.version),
        ("driver", before.driver, run.driver),
    )
    return ", ".join(f"{what} {a} → {b}" for what, a, b in pairs if a != b) or "—"


def _chart(at: int, trend: Trend, series: Series) -> Chart:
    known = {place: value for place, value in enumerate(trend.values) if value is not None}
    scale = scale_of(trend.unit, list(known.values()))
    label = trend.label

    def drawn(name: str, role: str, mark: Mark, places: Sequence[int]) -> Drawn:
        return Drawn(
            name,
            role,
            mark,
            tuple(float(place + 1) for place in places),
            tuple(scale.factor * known[place] for place in places),
            tuple(run_text(series.runs[place]) for place in places),
        )

    lines = [drawn(label, "latency", "line", [place for place, _ in trend.judged])]
    if trend.left_out:
        lines.append(drawn("disturbed, in no test", "effect_unsure", "point", trend.left_out))
    guides = tuple(Guide("x", step.index + 0.5, change_text(trend, step)) for step in trend.steps)
    reading = (
        f"{plural(len(trend.steps), 'step')}: the last {change_text(trend, trend.steps[-1])}."
        if trend.steps
        else ("Too few runs to tell." if trend.too_few else "No step.")
    )
    if trend.left_out:
        reading += f" {plural(len(trend.left_out), 'run')} left out: disturbed."
    if trend.undecided:
        reading += f" A step that was found is not called: {trend.undecided}."
    return Chart(
        id=f"trend-{at}-{trend.id}-{trend.stat}",
        title=label,
        reading=reading,
        x=Axis("Run", high=float(len(trend.values)) + 0.5, numbered=True),
        panels=(Panel(Axis(label, scale.unit), tuple(lines), guides),),
        width="half",
    )
