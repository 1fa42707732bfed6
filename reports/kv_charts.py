"""The KV cache over time, by what its room was for."""

from __future__ import annotations

import numpy as np

from .facts import floats
from .format import ABSENT, count, percent
from .glossary import KV_STATES
from .model import Axis, Chart, Guide, Panel, Run
from .place import Place, held_series

TAKEN = tuple(term for term in KV_STATES if term.id != "shared")  # shared room is a gain


def kv_usage(place: Place) -> Chart | None:
    """Tokens of room at each step, stacked by state, under the capacity."""
    run = place.run
    if run.steps.empty or run.result["kv"] is None:
        return None
    columns = {state.id: floats(run.steps, f"kv_{state.id}_tokens") for state in TAKEN}
    held = place.held(columns)
    capacity = int(run.result["kv"]["capacity_tokens"])
    peak = _peak(run)
    # A pool that was hardly used would flatten the areas: its size is then said, not drawn.
    near = max(_peak(other) for other in (place.among or (run,))) > 0.25 * capacity
    return Chart(
        id=place.chart_id("kv"),
        title=place.title("KV cache over time"),
        reading=_reading(run, peak, capacity),
        x=place.time,
        panels=(
            Panel(
                y=Axis("KV room", "tokens", high=_shared_high(place)),
                series=tuple(
                    held_series(held, state.id, state.label, f"kv_{state.id}", "area")
                    for state in TAKEN
                    if columns[state.id].any()
                ),
                guides=(Guide("y", float(capacity), "capacity"),) if near else (),
            ),
        ),
        note=held.note,
        width=place.width,
    )


def _peak(run: Run) -> float:
    """The most room taken at a step, in tokens."""
    columns = [floats(run.steps, f"kv_{state.id}_tokens") for state in TAKEN]
    return float(np.sum(columns, axis=0).max(initial=0.0))


def _shared_high(place: Place) -> float | None:
    if not place.among:
        return None
    known = [run.result["kv"] for run in place.among if run.result["kv"] is not None]
    capacities = (int(kv["capacity_tokens"]) for kv in known)
    peak = max(_peak(run) for run in place.among)
    largest = max(capacities)
    return 1.05 * (largest if peak > 0.25 * largest else peak) or None


def _reading(run: Run, peak: float, capacity: int) -> str:
    waste = run.result["kv"]["waste_share"]
    reached = percent(peak / capacity) if capacity else ABSENT
    size = f"the peak took {reached} of the pool's {count(capacity)} tokens"
    if waste is None:
        return f"Nothing was held; {size}."
    return f"{percent(waste)} of the room taken held nothing, over time; {size}."
