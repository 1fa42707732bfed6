"""Stand-in for the package that reads and writes published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

from .awq_checkpoint import load_awq, save_awq
from .quantized import QuantizedModel
from .scheme import Scheme


def default_format(scheme: Scheme) -> str:
    del scheme
    return "awq"


def write_checkpoint(model: QuantizedModel, source: Path, out: Path, format: str) -> None:
    assert format == "awq"
    save_awq(model, out, json.loads((source / "config.json").read_text()))


def read_checkpoint(directory: Path) -> QuantizedModel:
    return load_awq(directory)
