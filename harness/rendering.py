"""A stored run as the reports see it: plain data and tables, so that reports know no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..engines.errors import ConfigError
from ..engines.presets import find_preset
from ..reports.ablation_model import Ablation
from ..reports.capacity_model import Capacities
from ..reports.claims_model import Claims
from ..reports.frontier_model import Frontier
from ..reports.history_model import History
from ..reports.model import Comparison, Report, Run
from ..reports.repeats_model import RepeatsTable
from ..reports.sweep_model import SweepTable
from .result import Result
from .storage.json_text import json_text
from .storage.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd

_AXES = ("batching", "admission", "kv")


def run_view(name: str, result: Result, requests: pd.DataFrame, steps: pd.DataFrame) -> Run:
    """name: what the run's directory is called. An engine of which a choice was overridden stands
    for no system any more."""
    shown = result.model_dump(mode="json")
    if _overridden(shown["config"]):
        shown["config"]["stands_for"] = ""
    return Run(name=name, result=shown, requests=requests, steps=steps)


def _overridden(config: Mapping[str, Any]) -> bool:
    """Whether what the engine is known by is not as its preset has it. A preset that is not
    installed here cannot be asked."""
    try:
        row = find_preset(str(config.get("engine"))).row
    except ConfigError:
        return False
    return any(config.get(axis, row[axis]) != row[axis] for axis in _AXES)


def run_reports(
    name: str, result: Result, requests: pd.DataFrame, steps: pd.DataFrame
) -> dict[str, str]:
    """Every report of one run, by file name."""
    from ..reports.run_report import run_report

    return _pages("report", run_report(run_view(_title(name, result), result, requests, steps)))


def _title(name: str, result: Result) -> str:
    """What a run's own report is headed with. The report of a simulated run is the same bytes
    wherever it lies, so its directory's name is not in it."""
    if result.simulation is None:
        return name
    machine, devices = result.simulation.hardware, result.simulation.devices
    on = f"{devices}\u00a0×\u00a0{machine}" if devices > 1 else machine
    return f"{result.label}: {result.config['model']} on {on}"


def comparison_reports(runs: Sequence[StoredRun], comparison: Comparison) -> dict[str, str]:
    """Every report of runs side by side, by file name."""
    from ..reports.comparison_report import comparison_report

    return _pages("comparison", comparison_report(views_of(runs, comparison), comparison))


def views_of(runs: Sequence[StoredRun], comparison: Comparison) -> list[Run]:
    """What a comparison's reports show of each run, by the name that it has there."""
    return [
        run_view(name, run.result, run.requests, run.steps)
        for name, run in zip(comparison.runs, runs, strict=True)
    ]


def capacity_reports(capacities: Capacities, told: Mapping[str, Any]) -> dict[str, str]:
    """Every report of the largest rates that hold an SLO, by file name. told: what `capacity.json`
    holds."""
    from ..reports.capacity_report import capacity_report

    return _pages("capacity", capacity_report(capacities), told)


def claims_reports(claims: Claims) -> dict[str, str]:
    """Every report of what people say, by file name; `claims.json` holds the evidence."""
    from ..reports.claims_report import claims_report

    return _pages("claims", claims_report(claims), asdict(claims))


def ablation_reports(ablation: Ablation) -> dict[str, str]:
    """Every report of a factorial, by file name; `ablation.json` holds the numbers of all."""
    from ..reports.ablation_report import ablation_report

    return _pages("ablation", ablation_report(ablation), asdict(ablation))


def frontier_reports(frontier: Frontier) -> dict[str, str]:
    """Every report of methods side by side, by file name; `frontier.json` holds all numbers."""
    from ..reports.frontier_report import frontier_report

    return _pages("frontier", frontier_report(frontier), asdict(frontier))


def history_reports(history: History) -> dict[str, str]:
    """Every report of quantities over time, by file name; `history.json` holds the numbers."""
    from ..reports.history_report import history_report

    return _pages("history", history_report(history), asdict(history))


def sweep_reports(sweep: SweepTable) -> dict[str, str]:
    """Every report of a sweep, by file name."""
    from ..reports.sweep_report import sweep_report

    return _pages("sweep", sweep_report(sweep))


def repeats_reports(repeats: RepeatsTable) -> dict[str, str]:
    """Every report of a repeated run, by file name; `repeats.json` holds the numbers."""
    from ..reports.repeats_report import repeats_report

    told = {"schema_version": 1, **asdict(repeats)}
    return _pages("repeats", repeats_report(repeats), told)


def _pages(stem: str, report: Report, told: Mapping[str, Any] | None = None) -> dict[str, str]:
    """One report in each format, by file name. told: what the JSON beside it holds, if any."""
    from ..reports.html.page import render
    from ..reports.markdown import render_markdown

    numbers = {} if told is None else {f"{stem}.json": json_text(told) + "\n"}
    return {**numbers, f"{stem}.html": render(report), f"{stem}.md": render_markdown(report)}
