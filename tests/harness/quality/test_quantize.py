"""A model quantised into a directory: what is counted of it, and two commands for one directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from llmbench.harness.quality.quantize import QuantizeConfig, prepare, quantize

from ...engines.quantization.checkpoints.directories import WEIGHTS, plain_directory


def silent(*_: object) -> None: ...


def asked(model: Path, out: Path, **settings: Any) -> QuantizeConfig:
    return QuantizeConfig(str(model), settings.pop("method", "rtn"), out, **settings)


def test_only_files_that_are_read_are_counted(tmp_path: Path) -> None:
    """Mistral's directories have their weights twice, under two names."""
    model, out = plain_directory(tmp_path / "model"), tmp_path / "out"
    shutil.copyfile(model / WEIGHTS, model / "consolidated.safetensors")
    made = quantize(prepare(asked(model, out), silent), silent)
    assert made.bytes_before == (model / WEIGHTS).stat().st_size
    assert made.bytes == (out / WEIGHTS).stat().st_size
