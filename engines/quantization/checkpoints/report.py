"""What quantising cost, layer by layer, kept beside the weights that came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ...errors import ModelError
from ..quantized import LayerReport

REPORT_FILE = "quantization_report.json"


def read_report(directory: Path) -> tuple[LayerReport, ...]:
    """Empty where the weights were quantised elsewhere, or rounded. Raises ModelError."""
    path = directory / REPORT_FILE
    if not path.exists():
        return ()
    try:
        layers = json.loads(path.read_text(encoding="utf-8"))
        return tuple(LayerReport(**layer) for layer in layers)
    except (OSError, ValueError, TypeError) as error:
        problem = f"is no report of a quantisation ({error}); without it the model can be read"
        raise ModelError("model", str(path), " ".join(problem.split())) from error


def write_report(directory: Path, report: Sequence[LayerReport]) -> None:
    """Nothing, where there is none."""
    if report:
        text = json.dumps([asdict(layer) for layer in report], indent=1)
        (directory / REPORT_FILE).write_text(text, encoding="utf-8")
