"""What is said about capacities, in reading order: the answer, what it stands on, every rate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from .capacity_model import Capacities, Capacity
from .format import as_sentence, listed, number, quantity
from .headline import simulated_badge
from .model import (
    Axis,
    Cell,
    Chart,
    Guide,
    KeyFigure,
    Note,
    Panel,
    Report,
    Section,
    Series,
    Table,
    present,
)
from .palette import run_role
from .tables import table


def capacity_report(told: Capacities) -> Report:
    """Everything a report says about the largest rate that holds an SLO."""
    notes = tuple(_notes(told))
    return Report(
        title=f"Capacity of {', '.join(one.label for one in told.engines)}",
        subtitle="; ".join(told.settings),
        badge=simulated_badge(cautions=any(note.tone == "caution" for note in notes)),
        verdict=_verdict(told),
        statements=(
            *_answers(told.engines),
            *(f"{text}." for text in told.orders),
            told.same,
        ),
        figures=tuple(_figure(one) for one in told.engines),
        notes=notes,
        sections=(
            Section("rates", "Rates", present(_chart(told), _rates(told))),
            Section("engines", "At capacity", (_engines(told),)),
        ),
        footer=told.command,
        premise=f"Simulated, not measured. How wrong it may be: {told.error}.",
    )


def _verdict(told: Capacities) -> str:
    """`a and b hold TTFT ≤ 500 ms for 99 % of the requests up to 9 requests/s; c holds it …`."""
    alike: dict[str, list[str]] = {}
    for one in told.engines:
        alike.setdefault(one.how_far, []).append(one.label)
    parts = (
        f"{listed(labels)} {'hold' if len(labels) > 1 else 'holds'} "
        f"{'it' if place else told.asked} {how_far}"
        for place, (how_far, labels) in enumerate(alike.items())
    )
    return f"{'; '.join(parts)}."


def _answers(engines: Sequence[Capacity]) -> Iterator[str]:
    """Of one engine what the verdict has not said yet."""
    if len(engines) == 1:
        yield as_sentence(engines[0].more)
        return
    for one in engines:
        yield f"{one.label} {one.answer}."


def _figure(one: Capacity) -> KeyFigure:
    detail = f"{one.label}; 95\u00a0%: {one.interval}"
    if one.unshown:
        detail += f"; {one.unshown}"
    return KeyFigure("Capacity", _capacity(one), f"{one.arriving}/s", detail)


def _capacity(one: Capacity) -> str:
    return "any" if math.isinf(one.capacity_per_s) else number(one.capacity_per_s)


def _notes(told: Capacities) -> Iterator[Note]:
    for one in told.engines:
        for text in one.notes:
            yield Note(f"{one.label}: {text}.", "caution")
    for text in told.adjustments:
        yield Note(f"The workload was adjusted: {text}.")


def _chart(told: Capacities) -> Chart:
    """The share that kept the SLO over the rate; all at once is no rate."""
    series: list[Series] = []
    for place, one in enumerate(told.engines):
        tried = [at for at in one.trials if math.isfinite(at.rate_per_s)]
        series.append(
            Series(
                one.label,
                run_role(place),
                "line",
                x=tuple(at.rate_per_s for at in tried),
                y=tuple(100 * at.attained for at in tried),
            )
        )
    target = quantity(told.target, "share")
    return Chart(
        id="attainment",
        title="Requests that keep the SLO, by rate",
        reading=f"The capacity is where a line falls below the dashed one, {target} of the "
        "requests.",
        x=Axis("Rate", f"{told.engines[0].arriving}/s", log=True),
        panels=(
            Panel(
                Axis("Kept the SLO", "%", high=100.0),
                tuple(series),
                (Guide("y", 100 * told.target, "asked for"),),
            ),
        ),
    )


def _rates(told: Capacities) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for one in told.engines:
        rates = _rate_texts([at.rate_per_s for at in one.trials])
        for at, rate in zip(one.trials, rates, strict=True):
            holds = at.attained >= told.target
            mark = Cell("holds" if holds else "does not hold", "good" if holds else "bad")
            rows.append((one.label, rate, quantity(at.attained, "share"), mark))
    heads = ("Engine", f"Rate ({told.engines[0].arriving}/s)", "Kept the SLO", "Outcome")
    return table("rates", "Every rate", heads, rows, words=("Outcome",))


def _rate_texts(rates: Sequence[float]) -> Iterator[str]:
    """With a digit more where two would be written alike."""
    texts = Counter(map(number, rates))
    for rate in rates:
        if math.isinf(rate):
            yield "all at once"
        else:
            yield number(rate) if texts[number(rate)] == 1 else f"{rate:.4g}"


def _engines(told: Capacities) -> Table:
    rows = [
        (
            Cell(one.label, link=one.page),
            _capacity(one) + ("\u00a0?" if one.unshown else ""),
            one.interval,
            " and ".join(one.binds) or "nothing",
        )
        for one in told.engines
    ]
    of = told.engines[0].arriving
    heads = ("Engine", f"Capacity ({of}/s)", "95 % interval", "Binds")
    unshown = dict.fromkeys(one.unshown for one in told.engines if one.unshown)
    note = " ".join(
        ("Each engine's name leads to its run at capacity.", *(f"? {text}." for text in unshown))
    )
    words = ("95 % interval", "Binds")
    return table("together", "At capacity", heads, rows, words=words, note=note)
