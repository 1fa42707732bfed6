"""What a run took of its machine: shares of its peaks, energy, money; and why one is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .facts import stat
from .format import number, percent, quantity
from .glossary import label_of
from .metric_tables import SHARES_OF_PEAKS
from .model import KeyFigure, Run, Table
from .tables import table

_KINDS = {
    "run": "whole run, idle time included",
    "prefill": "steps that only prefill",
    "decode": "steps that only decode",
    "mixed": "steps of both",
}
_TOKENS = {"output": "output tokens", "total": "input and output tokens"}
ENERGY, COST = "energy_per_token", "cost_per_million_tokens"


def machine_use(run: Run) -> Table | None:
    """A row a number, then one for each that is absent; None of a result without any."""
    metrics, absent = run.result["metrics"], run.result.get("absent", {})
    rows: list[tuple[str, str, str]] = []
    for name in (*SHARES_OF_PEAKS, ENERGY, COST):
        if name in metrics:
            rows += _rows(name, metrics[name])
        elif name in absent:
            rows.append((label_of(name), "n/a", absent[name]))
    if not rows:
        return None
    return table(
        "machine-use",
        "Use of the machine",
        ("Metric", "Value", "Of what"),
        rows,
        words=("Of what",),
        note=" ".join(_notes(run)),
    )


def _rows(name: str, metric: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    words: Mapping[str, str] = _KINDS if name in SHARES_OF_PEAKS else _TOKENS
    return [
        (label_of(name), quantity(value, metric["unit"]), str(words.get(which, which)))
        for which, value in metric["stats"].items()
    ]


def _notes(run: Run) -> list[str]:
    """What the numbers stand on."""
    notes: list[str] = []
    if (peaks := run.result.get("peaks")) is not None:
        notes.append(
            f"Peaks of a device: {number(peaks['flops_per_s'] / 1e12)} TFLOP/s in "
            f"{peaks['dtype']}, {number(peaks['bytes_per_s'] / 1e9)} GB/s ({peaks['source']})."
        )
    if (energy := run.result.get("energy")) is not None:
        domains = energy["joules_by_domain"]
        drawn = ", ".join(f"{name} {number(joules)} J" for name, joules in domains.items())
        notes.append(f"Energy by {energy['source']}, idle power included: {drawn}.")
    if (price := run.result["config"].get("price_per_hour")) is not None:
        over = "steady window" if run.result["window"]["steady"] else "whole run"
        notes.append(f"Cost at a price of {number(price)} an hour and the {over}'s throughput.")
    return notes


def key_figures(run: Run) -> list[KeyFigure]:
    """The shares that people quote, and the cost; what is not known is left out."""
    figures: list[KeyFigure] = []
    decode, prefill = stat(run, "mbu", "decode"), stat(run, "mfu", "prefill")
    if decode is not None:
        beside = "" if prefill is None else f"MFU while prefilling {percent(prefill)}"
        figures.append(KeyFigure.of("MBU while decoding", percent(decode), beside))
    cost, total = stat(run, COST, "output"), stat(run, COST, "total")
    if cost is not None:
        detail = f"output tokens; {number(total)} of all"
        figures.append(KeyFigure("Cost", number(cost), "a million", detail))
    energy = stat(run, ENERGY, "output")
    if energy is not None:
        figures.append(
            KeyFigure.of("Energy", quantity(energy, "J/token"), "output tokens, idle in it")
        )
    return figures
