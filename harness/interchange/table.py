"""A run as a table for a spreadsheet: a row for each number that two runs can be compared by."""

from __future__ import annotations

import csv
import io

from ..comparison.quantities import QUANTITIES
from ..storage.store import StoredRun

COLUMNS = ("run_id", "label", "model", "workload", "metric", "stat", "unit", "better", "value")


def to_csv(run: StoredRun) -> str:
    """Units and ids as in `result.json`; what the run does not have has no row."""
    result = run.result
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    head = (result.run_id, result.label, result.config["model"], result.workload.name)
    for quantity in QUANTITIES.values():
        value = quantity.value(result)
        if value is not None:
            row = (quantity.id, quantity.stat, quantity.unit, quantity.better, repr(value))
            writer.writerow([*map(_plain, head), *row])
    return text.getvalue()


def _plain(text: str) -> str:
    """A spreadsheet computes what begins like a formula, whoever named the model."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
