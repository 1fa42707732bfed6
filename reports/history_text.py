"""Sentences and labels of a history, as reports and a terminal have them."""

from __future__ import annotations

from collections.abc import Iterator

from .effect_text import effect_text
from .format import listed, moment, plural, scale_of
from .glossary import in_sentence
from .history_model import History, HistoryRun, Series, Step, Trend
from .measure import response_label


def cautions(history: History) -> Iterator[str]:
    """Which runs' times are in no test, a line a series, which percentiles are left out, and which
    steps are not called."""
    for series in history.series:
        if apart := runs_apart(series):
            more = f" (and {plural(len(apart) - 1, 'more run')})" if len(apart) > 1 else ""
            yield (
                f"times of {len(apart)} of {plural(len(series.runs), 'run')} of {series.name} are "
                f"in no test: {apart[0].disturbed}{more}"
            )
        yield from _left_out_percentiles(series)
        for trend in series.trends:
            if trend.undecided:
                yield (
                    f"a step of {in_sentence(trend.label)} of {series.name} is not called: "
                    f"{trend.undecided}"
                )


def _left_out_percentiles(series: Series) -> Iterator[str]:
    """Those that the same runs have too few samples for, in one line."""
    alike: dict[tuple[tuple[int, ...], int], list[str]] = {}
    for one in series.not_carried:
        alike.setdefault((one.places, one.needed), []).append(response_label(one.id, one.stat))
    for (places, needed), labels in alike.items():
        are = "is" if len(labels) == 1 else "are"
        whose = f"{len(places)} of {plural(len(series.runs), 'run')}"
        yield (
            f"{listed(labels)} of {whose} of {series.name} {are} left out: fewer than {needed} "
            "samples"
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


def change_text(trend: Trend, step: Step) -> str:
    """ "+12 %", "3.40×"; both levels where the first was 0. What rounds to nothing is one digit of
    it, "+0.002 %": a run in virtual time steps by as little."""
    if step.ratio is None:
        scale = scale_of(trend.unit, (step.before, step.after))
        return f"{scale.number(step.before)} → {scale.quantity(step.after)}"
    change = 100 * (step.ratio - 1)
    if 0 < abs(change) < 0.05:
        return f"{change:+.1g} %".replace("-", "\u2212")
    return effect_text(step.ratio, None, None, "ratio", trend.unit)


def run_text(run: HistoryRun) -> str:
    """`nightly-7, 2026-01-02 03:04, commit 1a2b3c4d5e`."""
    known = (
        run.name,
        moment(run.when) if run.when else "",
        f"commit {run.commit}" if run.commit else "",
    )
    return ", ".join(filter(None, known))


def judged_or_all(trend: Trend) -> list[float]:
    """The values that enter the tests; all of them if none does."""
    judged = [value for _, value in trend.judged]
    return judged or [value for value in trend.values if value is not None]


def span_text(series: Series) -> str:
    """How many runs, from when to when; of those that record no time, that names order them."""
    many = plural(len(series.runs), "run")
    first, last = series.runs[0], series.runs[-1]
    if any(run.when for run in series.runs):
        return f"{many}, {moment(first.when)} to {moment(last.when)}"
    return f"{many}, {first.name} to {last.name} in the order of names, for none records its time"


def runs_apart(series: Series) -> list[HistoryRun]:
    """The runs of which any quantity is left out."""
    places = {at for trend in series.trends for at in trend.left_out}
    return [series.runs[at] for at in sorted(places)]
