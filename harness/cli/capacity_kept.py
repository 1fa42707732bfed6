"""What is kept of capacities: reports to read, and everything as JSON beside them."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import Path

from ...reports.capacity_model import Capacities, Capacity, RateTried
from ..simulation.capacity_goal import CapacityGoal
from ..simulation.capacity_order import Order
from ..simulation.simulated_capacity import EngineCapacity
from .capacity_json import capacity_told
from .capacity_tables import (
    SAME,
    asked,
    how_far,
    interval_text,
    more,
    notes,
    order_sentence,
    sentence,
    unshown,
)


def capacity_texts(
    found: Sequence[EngineCapacity],
    goal: CapacityGoal,
    ordered: Sequence[Order],
    runs: Sequence[str],
) -> dict[str, str]:
    """Every report of capacities, by file name. runs: where each engine's run at capacity has its
    page, as a link from them; empty without one."""
    from ..rendering import capacity_reports

    told = capacity_told(found, goal, ordered)
    return capacity_reports(_view(found, goal, ordered, runs), told)


def page_of(stored: Path | None, place: Path) -> str:
    """A run's page, as a link from a page in `place`; empty without a run."""
    if stored is None:
        return ""
    return Path(os.path.relpath(stored / "report.html", place.resolve())).as_posix()


def _view(
    found: Sequence[EngineCapacity],
    goal: CapacityGoal,
    ordered: Sequence[Order],
    runs: Sequence[str],
) -> Capacities:
    return Capacities(
        settings=tuple(dict.fromkeys(one.setting for one in found)),
        engines=tuple(
            Capacity(
                one.config.label,
                sentence(one, goal),
                how_far(one),
                more(one, goal),
                one.capacity_per_s,
                interval_text(one),
                one.arriving,
                tuple(RateTried(at.rate_per_s, at.attained) for at in one.search.trials),
                one.binds or (("refusals",) if one.refused else ()),
                tuple(notes(one)),
                page,
                unshown(one),
            )
            for one, page in zip(found, runs, strict=True)
        ),
        asked=asked(goal),
        target=goal.attainment,
        orders=tuple(order_sentence(one) for one in ordered),
        adjustments=tuple(dict.fromkeys(text for one in found for text in one.adjustments)),
        same=SAME[found[0].arriving],
        error=" ".join(dict.fromkeys(one.error for one in found)),
        command=found[0].config.command,
    )
