"""What a script is told of capacities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..simulation.capacity_goal import CapacityGoal
from ..simulation.capacity_order import Order
from ..simulation.simulated_capacity import EngineCapacity
from ..storage.json_text import json_text
from .capacity_tables import notes, sentence


def capacity_json(
    found: Sequence[EngineCapacity], goal: CapacityGoal, ordered: Sequence[Order] = ()
) -> str:
    """One object; a rate of null is all requests at once, or in an interval no limit."""
    return json_text(capacity_told(found, goal, ordered))


def capacity_told(
    found: Sequence[EngineCapacity], goal: CapacityGoal, ordered: Sequence[Order]
) -> Mapping[str, Any]:
    """The object itself, in which such a rate is infinite."""
    return {
        "command": found[0].config.command,
        "slo_s": dict(goal.slo_s),
        "attainment": goal.attainment,
        "rate_tolerance": goal.rate_tolerance,
        "engines": [_engine(one, goal) for one in found],
        "orders": [{**asdict(one), "is_noise": one.is_noise} for one in ordered],
    }


def _engine(one: EngineCapacity, goal: CapacityGoal) -> Mapping[str, Any]:
    search = one.search
    return {
        "engine": one.config.engine.engine,
        "label": one.config.label,
        "outcome": search.outcome,
        "rates_of": one.arriving,
        "requests_per_session": one.per_session,
        "capacity_per_s": one.capacity_per_s,
        "capacity_requests_per_s": one.requests_per_s,
        "interval_95_per_s": one.interval_per_s,
        "judged": one.judged,
        "effective": one.effective,
        "holds": search.holds and asdict(search.holds),
        "fails": search.fails and asdict(search.fails),
        "trials": [asdict(trial) for trial in search.trials],
        "exceptions": [asdict(trial) for trial in search.exceptions],
        "binds": list(one.binds),
        "limits": [asdict(limit) for limit in one.limits],
        "refused": one.refused or None,
        "notes": notes(one),
        "adjustments": one.adjustments,
        "simulation_error": one.error,
        "setting": one.setting,
        "answer": sentence(one, goal),
        "if_latencies_too_short": [
            {"too_short": share, "capacity_per_s": rate} for share, rate in one.if_too_short
        ],
        "at_capacity": one.run.result.model_dump(mode="json") if one.run else None,
    }
