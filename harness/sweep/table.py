"""What a sweep found, side by side: for the report, and as a table to read into pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...reports.facts import hardware_of
from ...reports.measure import Measure
from ...reports.sweep_model import (
    SaturationPoint,
    SweepCell,
    SweepSystem,
    SweepTable,
)
from ...workloads.scaled import GAPS_MULTIPLIED
from ..comparison.quantities import QUANTITIES, finite_or_none
from ..result import Result, Simulation
from .cells import Done
from .grid import NUM_REQUESTS
from .leads import leads_of, whole_where_mixed
from .saturation import Saturation
from .trial import Trial, refuses

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (
    *("output_throughput.window", "request_throughput.window", "goodput_share.run"),
    *("ttft.p50", "ttft.p99", "tpot.mean", "tpot.p99", "itl.p99", "e2el.p50", "e2el.p99"),
    *("kv.waste_share", "batch_requests.mean", "counters.preemptions"),
    *("mfu.prefill", "mbu.decode", "energy_per_token.output", "cost_per_million_tokens.output"),
    *("memory.weight_bytes", "quality.perplexity"),
)


def sweep_table(
    command: str,
    done: Sequence[Done] = (),
    searches: Sequence[Saturation] = (),
    criterion: str = "",
    interrupted: str = "",
) -> SweepTable:
    """Of cells, or of the trials of searches. Quantities that no cell has are left out. Trials have
    no best one: each stands for its rate. interrupted: how far it came, if not to its end."""
    trials = [trial for one in searches for trial in one.trials]
    counted = [one.run.result for one in done if one.run is not None and not one.failure]
    shown = whole_where_mixed(SHOWN, counted)
    cells = (*(_cell(one, shown) for one in done), *map(_trial, trials))
    done = (*done, *(trial.done for trial in trials))
    measured = [name for name in shown if any(cell.values[name] is not None for cell in cells)]
    return SweepTable(
        command,
        tuple(dict.fromkeys(option for cell in cells for option in cell.settings)),
        tuple(
            Measure(one.id, one.stat, one.unit, one.better)
            for one in (QUANTITIES[name] for name in measured)
        ),
        cells,
        tuple(map(_point, searches)),
        criterion,
        _systems([one.run.result for one in done if one.run is not None]),
        () if searches else leads_of(done),
        interrupted,
    )


def frame(table: SweepTable) -> pd.DataFrame:
    """A row a cell, units in the names; a cell that does not count says why and has its numbers."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "cell": cell.name,
                **{option: cell.settings.get(option) for option in table.options},
                "repeat": cell.repeat,
                "failure": cell.failure or cell.refused,
                "adjustments": "; ".join(cell.adjustments),
                **({"followed": cell.followed} if table.saturation else {}),
                **{_column(one): cell.values[one.name] for one in table.quantities},
            }
            for cell in table.cells
        ]
    )


def _systems(results: Sequence[Result]) -> tuple[SweepSystem, ...]:
    """Each once. Of cells that were simulated on one machine, the error of the one that is farthest
    from what is known."""
    farthest: dict[str, Simulation | None] = {}
    for result in results:
        told = result.model_dump(include={"config", "environment", "simulation", "target"})
        text = f"{result.config.get('model')}, {hardware_of(told)}"
        known, found = farthest.get(text), result.simulation
        if known is None or (found and found.extrapolated_steps > known.extrapolated_steps):
            farthest[text] = found
    return tuple(
        SweepSystem(text, "" if found is None else found.error) for text, found in farthest.items()
    )


def _column(quantity: Measure) -> str:
    unit = quantity.unit.replace("/", "_per_").replace(" ", "_")
    return f"{quantity.name}_{unit}" if unit and not quantity.stat.endswith(unit) else quantity.name


def _cell(done: Done, shown: Sequence[str] = SHOWN) -> SweepCell:
    result = None if done.run is None else done.run.result
    return SweepCell(
        done.cell.name,
        dict(done.cell.settings),
        done.cell.repeat,
        "" if result is None else result.label,
        {name: None if result is None else QUANTITIES[name].shown(result) for name in shown},
        done.failure,
        adjustments=() if result is None else result.workload.adjustments,
    )


def _trial(trial: Trial) -> SweepCell:
    """What a system refused is the answer, and no failure of the cell; that gaps were scaled is
    what a trial is."""
    cell, run = _cell(trial.done), trial.done.run
    followed = trial.followed if trial.sure else None
    notes = (text for text in cell.adjustments if not text.startswith(GAPS_MULTIPLIED))
    cell = replace(cell, adjustments=tuple(notes))
    if run is None:
        return replace(cell, followed=followed)
    settings = {**cell.settings, NUM_REQUESTS: str(run.result.workload.num_requests)}
    failure, refused = ("", cell.failure) if refuses(run) else (cell.failure, "")
    return replace(cell, settings=settings, failure=failure, refused=refused, followed=followed)


def _point(found: Saturation) -> SaturationPoint:
    return SaturationPoint(
        dict(found.point.settings),
        found.outcome,
        finite_or_none(found.holds_per_s),
        finite_or_none(found.fails_per_s),
        found.exceptions,
        found.failure,
        found.per_session,
        found.point.repeat,
    )
