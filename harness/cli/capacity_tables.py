"""What a terminal, or a script, is told of capacities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from ...reports.format import quantity
from ..capacity import Search, Trial
from ..metrics import CostPerMillionTokens
from ..simulated_capacity import EngineCapacity, Goal
from .console import foreign
from .tables import wide_console

# Fewer mean latencies of arrivals than this, and many requests met an engine that was filling up.
BURST_LATENCIES = 10.0
_COLUMNS = (
    *("engine", "capacity", "output tokens at capacity", "TTFT p99", "TPOT p99", "KV peak"),
    *("preemptions", "binds"),
)
_COST = "cost of a million output tokens"


def print_capacities(found: Sequence[EngineCapacity], goal: Goal) -> None:
    """A sentence an engine, the rates that were tried if it is one, and a table of all."""
    console = wide_console()
    for one in found:
        console.print(f"[bold]{foreign(one.config.label)}[/]  {foreign(sentence(one, goal))}")
        for text in notes(one):
            console.print(f"[yellow]note[/] {foreign(text)}")
    console.print()
    if len(found) == 1:
        console.print(_trials(found[0].search))
        console.print()
    console.print(_compared(found))
    console.print(
        "\nEvery rate was sent the same requests in the same order; only the gaps between them "
        "change."
    )
    for error in dict.fromkeys(one.error for one in found):
        console.print(f"[yellow]simulated[/] {foreign(error)}")


def sentence(one: EngineCapacity, goal: Goal) -> str:
    """The answer in words."""
    limits = " and ".join(f"{metric} ≤ {quantity(s, 's')}" for metric, s in goal.slo_s.items())
    what = f"{limits} for {quantity(goal.attainment, 'share')} of the requests"
    search = one.search
    if search.outcome == "always":
        return f"holds {what} at any rate, even with all requests sent at once"
    assert search.fails is not None
    at = f"at {rate(search.fails)} {quantity(search.fails.attained, 'share')} keep it"
    if search.holds is None:
        return f"holds {what} at no rate: {at} ({_missed(one, goal)})"
    return f"holds {what} up to {rate(search.holds)}; {at} ({_missed(one, goal)})"


def _missed(one: EngineCapacity, goal: Goal) -> str:
    """Which limits are not kept, and by how much."""
    parts = [
        f"{limit.metric}: {quantity(goal.attainment, 'share')} stay within "
        f"{quantity(limit.reached_s, 's')}, {limit.reached_s / limit.limit_s:.2f}x the limit"
        for limit in one.limits
        if limit.reached_s > limit.limit_s
    ]
    if one.refused:
        parts.append(f"a request was refused: {one.refused}")
    return "; ".join(parts) or "the limits together: different requests miss different ones"


def notes(one: EngineCapacity) -> list[str]:
    """What the answer cannot carry."""
    search, burst = one.search, one.burst
    found = [
        f"attainment does not simply fall with the rate: {rate(trial)} "
        f"{'holds' if trial.attained >= search.target else 'does not hold'} "
        f"({quantity(trial.attained, 'share')})"
        for trial in search.exceptions
    ]
    if burst is not None and burst < BURST_LATENCIES:
        found.append(
            f"arrivals lasted only {burst:.1f} mean latencies: the capacity of a burst; raise "
            "--num-requests for that of a lasting load"
        )
    failures = one.run.result.validity.failures if one.run else ()
    return found + [f"at capacity: {check.detail}" for check in failures]


def rate(trial: Trial) -> str:
    if math.isinf(trial.rate_per_s):
        return "all at once"
    return quantity(trial.rate_per_s, "requests/s")


def _trials(search: Search) -> Table:
    table = _table("rate", "kept the SLO", "")
    for trial in search.trials:
        holds = trial.attained >= search.target
        mark = "[green]holds[/]" if holds else "[red]does not hold[/]"
        table.add_row(rate(trial), quantity(trial.attained, "share"), mark)
    return table


def _compared(found: Sequence[EngineCapacity]) -> Table:
    is_priced = any(one.config.price_per_hour is not None for one in found)
    table = _table(*_COLUMNS, *([_COST] if is_priced else []))
    for one in found:
        if one.run is None or one.search.holds is None:
            cost = ["n/a"] if is_priced else []
            row = ("0", *["n/a"] * 5, foreign(_binds(one)))
            table.add_row(foreign(one.config.label), *row, *cost)
            continue
        result = one.run.result
        assert result.kv is not None, "capacity is searched for in process"
        peak = result.kv.useful_tokens.peak / result.kv.capacity_tokens
        table.add_row(
            foreign(one.config.label),
            rate(one.search.holds),
            quantity(result.stat("output_throughput", "window"), "tokens/s"),
            quantity(result.stat("ttft", "p99"), "s"),
            quantity(result.stat("tpot", "p99"), "s"),
            quantity(peak, "share"),
            quantity(result.counters.preemptions, ""),
            foreign(_binds(one)),
            *([quantity(result.stat(CostPerMillionTokens.id, "output"), "")] if is_priced else []),
        )
    return table


def _binds(one: EngineCapacity) -> str:
    return " and ".join(one.binds) or ("refusals" if one.refused else "nothing")


def capacity_json(found: Sequence[EngineCapacity], goal: Goal) -> str:
    """One object; a rate of null is all requests at once."""
    return json.dumps(
        {
            "slo_s": dict(goal.slo_s),
            "attainment": goal.attainment,
            "rate_tolerance": goal.rate_tolerance,
            "engines": [_engine(one) for one in found],
        },
        indent=2,
        allow_nan=False,
    )


def _engine(one: EngineCapacity) -> Mapping[str, Any]:
    search = one.search
    return {
        "engine": one.config.engine.engine,
        "label": one.config.label,
        "outcome": search.outcome,
        "capacity_per_s": _capacity(search),
        "holds": _trial(search.holds),
        "fails": _trial(search.fails),
        "trials": [_trial(trial) for trial in search.trials],
        "exceptions": [_trial(trial) for trial in search.exceptions],
        "binds": list(one.binds),
        "limits": [_finite(asdict(limit)) for limit in one.limits],
        "refused": one.refused or None,
        "notes": notes(one),
        "simulation_error": one.error,
        "at_capacity": one.run.result.model_dump(mode="json") if one.run else None,
    }


def _capacity(search: Search) -> float | None:
    """0 where no rate holds, null where any does."""
    if search.holds is None:
        return 0.0
    return None if math.isinf(search.holds.rate_per_s) else search.holds.rate_per_s


def _trial(trial: Trial | None) -> Mapping[str, Any] | None:
    return None if trial is None else _finite(asdict(trial))


def _finite(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """JSON has neither infinity nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def _table(*titles: str) -> Table:
    table = Table(*titles, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
