"""How a run was set up: configuration, workload, environment, as name and value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .facts import slo_s
from .format import plural, seconds, setting
from .glossary import label_of
from .model import Run, Table
from .tables import table


def config(run: Run) -> Table:
    shown = {key: value for key, value in run.result["config"].items() if key != "slo"}
    limits = ", ".join(f"{label_of(m)} ≤ {seconds(limit)}" for m, limit in slo_s(run).items())
    rows = [(key, setting(key, value)) for key, value in shown.items()]
    return settings_table("config", "Configuration", [*rows, ("slo", limits or "none")])


def workload(run: Run) -> Table:
    found = run.result["workload"]
    rows = [("name", found["name"]), ("fingerprint", found["fingerprint"])]
    told = flat(found["description"])
    rows += [(key, setting(key, value)) for key, value in told if key != "name"]
    return settings_table("workload", "Workload", rows)


def environment(run: Run) -> Table:
    rows = [(key, setting(key, value)) for key, value in flat(run.result["environment"])]
    calls = run.result.get("kernel_calls", {})
    rows += [
        (f"kernel {op}", _kernel(name, calls.get(op, {})))
        for op, name in run.result["kernels"].items()
    ]
    rows += [(f"emulated {op}", how) for op, how in run.result.get("emulated", {}).items()]
    return settings_table("environment", "Environment", rows)


def _kernel(name: str, calls: Mapping[str, int]) -> str:
    """Who computed an operation and how often; of a result without counts, who was to."""
    return ", ".join(f"{one} ({plural(times, 'call')})" for one, times in calls.items()) or name


def settings_table(
    table_id: str, title: str, rows: Sequence[tuple[str, str]], *, folded: bool = False
) -> Table:
    """Names and values, a row each."""
    titles = ("Setting", "Value")
    return table(table_id, title, titles, rows, words=("Value",), folded=folded)


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names."""
    rows: list[tuple[str, Any]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        else:
            rows.append((name, value))
    return rows
