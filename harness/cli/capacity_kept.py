"""What is kept of capacities: everything as JSON, and a report to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...reports.capacity_model import Capacities, Capacity, RateTried
from ..rate_search.bracket import Tried
from ..simulation.capacity_goal import CapacityGoal
from ..simulation.capacity_order import Order
from ..simulation.simulated_capacity import EngineCapacity
from .capacity_tables import SAME, interval_text, notes, order_sentence, sentence


def capacity_texts(
    found: Sequence[EngineCapacity],
    goal: CapacityGoal,
    ordered: Sequence[Order],
    runs: Sequence[str],
) -> dict[str, str]:
    """Every report of capacities, by file name. runs: where each engine's run at capacity has its
    page, beside them."""
    from ...reports.html import render_capacities
    from ...reports.markdown import render_capacities_markdown

    told = _view(found, goal, ordered, runs)
    return {
        "capacity.json": capacity_json(found, goal, ordered) + "\n",
        "capacity.html": render_capacities(told),
        "capacity.md": render_capacities_markdown(told),
    }


def page_of(directory: Path, out: Path) -> str:
    """A run's page, as a link from a page in `out`."""
    return (directory.relative_to(out) / "report.html").as_posix()


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
                one.capacity_per_s,
                interval_text(one),
                one.arriving,
                tuple(RateTried(at.rate_per_s, at.attained) for at in one.search.trials),
                one.binds or (("refusals",) if one.refused else ()),
                tuple(notes(one)),
                page if one.run else "",
            )
            for one, page in zip(found, runs, strict=True)
        ),
        target=goal.attainment,
        orders=tuple(order_sentence(one) for one in ordered),
        adjustments=tuple(dict.fromkeys(text for one in found for text in one.adjustments)),
        same=SAME[found[0].arriving],
        error=" ".join(dict.fromkeys(one.error for one in found)),
        command=found[0].config.command,
    )


def capacity_json(
    found: Sequence[EngineCapacity], goal: CapacityGoal, ordered: Sequence[Order] = ()
) -> str:
    """One object; a rate of null is all requests at once, or in an interval no limit."""
    return json.dumps(
        {
            "slo_s": dict(goal.slo_s),
            "attainment": goal.attainment,
            "rate_tolerance": goal.rate_tolerance,
            "engines": [_engine(one, goal) for one in found],
            "orders": [{**_finite(asdict(one)), "is_noise": one.is_noise} for one in ordered],
        },
        indent=2,
        allow_nan=False,
    )


def _engine(one: EngineCapacity, goal: CapacityGoal) -> Mapping[str, Any]:
    search = one.search
    return {
        "engine": one.config.engine.engine,
        "label": one.config.label,
        "outcome": search.outcome,
        "rates_of": one.arriving,
        "requests_per_session": one.per_session,
        "capacity_per_s": _or_none(one.capacity_per_s),
        "capacity_requests_per_s": _or_none(one.requests_per_s),
        "interval_95_per_s": [_or_none(end) for end in one.interval_per_s],
        "judged": one.judged,
        "effective": one.effective,
        "holds": _trial(search.holds),
        "fails": _trial(search.fails),
        "trials": [_trial(trial) for trial in search.trials],
        "exceptions": [_trial(trial) for trial in search.exceptions],
        "binds": list(one.binds),
        "limits": [_finite(asdict(limit)) for limit in one.limits],
        "refused": one.refused or None,
        "notes": notes(one),
        "adjustments": one.adjustments,
        "simulation_error": one.error,
        "setting": one.setting,
        "answer": sentence(one, goal),
        "if_latencies_too_short": [
            {"too_short": share, "capacity_per_s": _or_none(rate)}
            for share, rate in one.if_too_short
        ],
        "at_capacity": one.run.result.model_dump(mode="json") if one.run else None,
    }


def _or_none(rate_per_s: float) -> float | None:
    return rate_per_s if math.isfinite(rate_per_s) else None


def _trial(trial: Tried | None) -> Mapping[str, Any] | None:
    return None if trial is None else _finite(asdict(trial))


def _finite(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """JSON has neither infinity nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
