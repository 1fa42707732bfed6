"""What is said about a run that was repeated, in reading order: what the runs come to together, how
far they differ, and each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .format import Scale, as_sentence, count, percent, plural, scale_of
from .glossary import in_sentence
from .headline import simulated_badge
from .model import (
    Axis,
    Badge,
    Cell,
    Chart,
    Guide,
    KeyFigure,
    Note,
    Panel,
    Report,
    Section,
    Series,
    present,
)
from .model import Table as ReportTable
from .repeats_model import PooledQuantity, RepeatsTable
from .tables import glossary, table

WHOLE = Badge("Every repeat counts", "✓", "good")
CAUTION = Badge("Every repeat counts, with cautions", "!", "caution")
INCOMPLETE = Badge("Repeats left out", "!", "caution")
NONE = Badge("No repeat counts", "✕", "bad")
# Of each the first that runs have: few requests carry no p99.
ANSWER = (
    ("output_throughput.window", "output_throughput.run"),
    ("ttft.p99", "ttft.p50"),
    ("tpot.mean",),
)
OF_A_RUN = (
    *("output_throughput.window", "output_throughput.run", "ttft.p99"),
    *("tpot.mean", "goodput_share.run", "ttft.p50", "e2el.p50"),
)
HEADLINES = (
    *("output_throughput.window", "output_throughput.run", "goodput_share.run", "ttft.p50"),
    *("ttft.p99", "tpot.mean", "e2el.p50", "kv.waste_share"),
)


def repeats_report(repeats: RepeatsTable) -> Report:
    """Everything a report says about a repeated run."""
    runs = len(repeats.runs)
    return Report(
        title=repeats.name,
        subtitle=f"{plural(runs, 'run')} of {repeats.label} on {repeats.model} · "
        f"{repeats.workload}, a seed each",
        badge=_badge(repeats),
        verdict=_verdict(repeats),
        statements=tuple(_statements(repeats)),
        figures=tuple(_key_figures(repeats)),
        notes=tuple(_notes(repeats)),
        sections=tuple(section for section in _sections(repeats) if section.parts),
        footer=repeats.command,
        premise=repeats.premise,
    )


def interval_text(one: PooledQuantity, scale: Scale) -> str:
    """`[480, 544]`; "no interval" of a single run."""
    if one.low is None or one.high is None:
        return "no interval"
    return f"[{scale.number(one.low)}, {scale.number(one.high)}]"


def spread_share(one: PooledQuantity) -> float | None:
    """The standard deviation between runs, as a share of the mean."""
    return None if one.std is None or not one.mean else one.std / one.mean


def _badge(repeats: RepeatsTable) -> Badge:
    if not repeats.counted:
        return NONE
    if len(repeats.counted) < len(repeats.runs):
        return INCOMPLETE
    if repeats.premise:
        return simulated_badge(cautions=bool(repeats.notes))
    return CAUTION if repeats.notes else WHOLE


def _verdict(repeats: RepeatsTable) -> str:
    by_name = {one.name: one for one in repeats.quantities}
    known = ([by_name[name] for name in names if name in by_name] for names in ANSWER)
    told = [_answer(found[0]) for found in known if found]
    if not told:
        return "No repeat is a run that counts."
    counted = len(repeats.counted)
    over = f"over {plural(counted, 'run')}" if counted > 1 else "in one run"
    return f"{repeats.label} {over}: {'; '.join(told)}."


def _answer(one: PooledQuantity) -> str:
    scale = _scale(one)
    text = f"{in_sentence(one.label)} {scale.quantity(one.mean)}"
    return text if one.low is None else f"{text} {interval_text(one, scale)}"


def _statements(repeats: RepeatsTable) -> Iterator[str]:
    if len(repeats.counted) > 1:
        yield (
            f"In brackets, the {percent(repeats.confidence)} interval of the mean over runs, by "
            f"Student's t: it covers {_covered(repeats)}."
        )


def _covered(repeats: RepeatsTable) -> str:
    """What differed from run to run, and what did not."""
    same = len({run.fingerprint for run in repeats.counted}) == 1
    requests = "" if same else "which requests were drawn"
    if repeats.premise:
        return f"{requests}, not how wrong the cost model is"
    machine = "how this machine differed from run to run, not another machine or day"
    return f"{requests} and {machine}" if requests else machine


def _key_figures(repeats: RepeatsTable) -> Iterator[KeyFigure]:
    for one in repeats.quantities:
        if one.name not in HEADLINES:
            continue
        scale = _scale(one)
        detail = "one run"
        if one.low is not None and one.high is not None:
            detail = f"{scale.number(one.low)} to {scale.number(one.high)}"
            if (share := spread_share(one)) is not None:
                detail += f"; runs ±\u00a0{percent(share)}"
        yield KeyFigure.of(one.label, scale.quantity(one.mean), detail)


def _notes(repeats: RepeatsTable) -> Iterator[Note]:
    tone = "caution" if repeats.counted else "bad"
    for run in repeats.runs:
        if run.failure:
            yield Note(f"{run.name} does not count: {run.failure}.", tone)
    for text in repeats.notes:
        yield Note(as_sentence(text), "caution")


def _sections(repeats: RepeatsTable) -> tuple[Section, ...]:
    """Without a run that counts there is no number to pool, draw or explain."""
    any_pooled = bool(repeats.quantities)
    return (
        Section("together", "Together", (together_table(repeats),) if any_pooled else ()),
        Section("spread", "How far runs differ", present(_chart(repeats))),
        Section(
            "runs",
            "The runs",
            (runs_table(repeats),),
            "Each is a whole run; its name leads to its report.",
        ),
        Section("glossary", "Glossary", (glossary(),) if any_pooled else ()),
    )


def together_table(repeats: RepeatsTable) -> ReportTable:
    """A row a quantity: mean, spread and interval."""
    rows: list[tuple[str | Cell, ...]] = []
    for one in repeats.quantities:
        scale, share = _scale(one), spread_share(one)
        few = one.runs < len(repeats.counted)
        rows.append(
            (
                one.label,
                scale.unit,
                scale.number(one.mean),
                scale.number(one.low),
                scale.number(one.high),
                scale.number(one.std),
                percent(share) if share is not None else "—",
                Cell(count(one.runs), "caution" if few else "plain"),
            )
        )
    level = percent(repeats.confidence).replace(" ", "\u00a0")
    return table(
        "together",
        "Over all repeats that count",
        ("Metric", "Unit", "Mean", f"{level} from", "to", "Runs ±", "of mean", "Runs"),
        rows,
        words=("Unit",),
        note="From … to: the interval of the mean over runs. Runs ±: the standard deviation "
        "between runs; more runs make the interval narrower, not the runs more alike.",
    )


def runs_table(repeats: RepeatsTable) -> ReportTable:
    """A row a repeat."""
    scales = {one.name: _scale(one) for one in repeats.quantities if one.name in OF_A_RUN}
    heads = [
        f"{one.label} ({scales[one.name].unit})" if scales[one.name].unit else one.label
        for one in repeats.quantities
        if one.name in scales
    ]
    rows: list[tuple[str | Cell, ...]] = [
        (
            Cell(run.name, link=f"{run.name}/report.html"),
            Cell(f"no: {run.failure}", "caution") if run.failure else Cell("✓", "quiet"),
            *(scale.number(run.values[name]) for name, scale in scales.items()),
            str(run.seed),
        )
        for run in repeats.runs
    ]
    titles = ("Run", "Counts", *heads, "Seed")
    return table("repeats", "Every repeat", titles, rows, words=("Counts",))


def _scale(one: PooledQuantity) -> Scale:
    return scale_of(one.unit, (one.mean, one.low, one.high))


def _chart(repeats: RepeatsTable) -> Chart | None:
    """Runs and interval of every quantity on one scale: the share of its mean."""
    shown = [
        one
        for one in repeats.quantities
        if one.low is not None and one.high is not None and one.std and one.mean
    ]
    if not shown:
        return None
    widest = max(shown, key=lambda one: spread_share(one) or 0.0)
    return Chart(
        id="repeats-spread",
        title="Runs and the interval of their mean",
        reading=f"A dot without a line is a run. {widest.label} differs most from "
        f"run to run: ± {percent(spread_share(widest))}.",
        x=Axis("Of the mean", "%"),
        panels=(
            Panel(
                Axis("Metric", categories=tuple(one.label for one in shown)),
                (
                    Series(
                        "Mean, with its interval",
                        "effect_main",
                        "interval",
                        x=tuple(100.0 for _ in shown),
                        y=tuple(float(at) for at in range(len(shown))),
                        labels=tuple(map(_interval_label, shown)),
                        low=tuple(100 * (one.low or 0.0) / one.mean for one in shown),
                        high=tuple(100 * (one.high or 0.0) / one.mean for one in shown),
                    ),
                    _dots(repeats, shown),
                ),
                (Guide("x", 100.0, ""),),
            ),
        ),
    )


def _interval_label(one: PooledQuantity) -> str:
    scale = _scale(one)
    return f"{one.label}: {scale.quantity(one.mean)} {interval_text(one, scale)}"


def _dots(repeats: RepeatsTable, shown: list[PooledQuantity]) -> Series:
    dots = [
        (100 * value / one.mean, float(at), f"{run.name}: {_scale(one).quantity(value)}")
        for at, one in enumerate(shown)
        for run in repeats.counted
        if (value := run.values[one.name]) is not None
    ]
    unknown = tuple(math.nan for _ in dots)
    return Series(
        "A run",
        "effect_interaction",
        "interval",
        x=tuple(x for x, _, _ in dots),
        y=tuple(y for _, y, _ in dots),
        labels=tuple(label for _, _, label in dots),
        low=unknown,
        high=unknown,
    )
