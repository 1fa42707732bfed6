"""A model quantised into a directory: what is counted of it, and two commands for one directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.harness.quality.quantize import QuantizeConfig, prepare, quantize

from ...engines.quantization.checkpoints.directories import WEIGHTS, plain_directory
from ...engines.quantization.tiny import SHAPES


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


@pytest.mark.parametrize("format", ["gptq", "compressed-tensors"])
def test_whole_rows_are_written_of_a_model_that_no_group_fits(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"hidden_size": 48, "intermediate_size": 136, "head_dim": 16}
    monkeypatch.setitem(SHAPES, "narrow", SHAPES["multi-head"] | sizes)
    model, out = plain_directory(tmp_path / "model", "narrow"), tmp_path / "out"
    config = asked(model, out, group_size=-1, symmetric=True, format=format)
    quantize(prepare(config, silent), silent)
    _, read = read_checkpoint(out)
    assert read.scheme.group_size is None
    assert len(read.maps) == 14
