"""The quant axis for methods that calibrate: quantised once, kept, read back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.models import bundled
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_config
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization import identity, load
from llmbench.engines.quantization.calibration import CalibrationSize
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.load import cached_checkpoint, load_weights
from llmbench.engines.quantization.methods import linear_ops
from llmbench.engines.quantization.quantize import LAYER_METHODS
from llmbench.engines.quantization.scheme import Scheme, default_scheme, resolve_group_size
from safetensors.torch import load_file, save_file

from .checkpoints.directories import (
    WEIGHTS,
    change_tensors,
    plain_directory,
    problem_of,
    rounded,
)

BUNDLED = Path(bundled.__file__).parent
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    small = dict.fromkeys(LAYER_METHODS, CalibrationSize(2, 64))
    monkeypatch.setattr(load, "DEFAULT_SIZES", small)


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_weights_are_quantised_once_and_read_back(method: str, tmp_path: Path) -> None:
    config = load_config(BUNDLED)
    size = resolve_group_size(config, method, None)

    def logits(said: list[str]) -> torch.Tensor:
        loaded = load_weights(
            BUNDLED,
            method,
            group_size=size,
            dtype=torch.float32,
            device=CPU,
            report=said.append,
        )
        ops = select_ops(CPU, torch.float32)
        model = Llama(loaded.config, loaded.source, ops, dtype=torch.float32, device=CPU)
        return dense_logits(model, list(range(40)))

    first: list[str] = []
    expected = logits(first)
    assert first[0] == f"quantising with {method}, once: 6 layers"
    assert first[-1] == f"{method}: layer 6 of 6"
    again: list[str] = []
    assert torch.equal(logits(again), expected)
    assert again == []
    kept = list((tmp_path / "cache" / method).iterdir())
    assert len(kept) == 1  # no finished layers are left beside it
    _, model = read_checkpoint(kept[0])
    assert [layer.layer for layer in model.report] == list(range(6))
    assert "model.embed_tokens" not in model.maps


def test_the_output_projection_is_rounded_when_smoothquant_runs() -> None:
    """As plain w8a8 does; the checkpoint itself leaves it alone."""
    loaded = load_weights(BUNDLED, "smoothquant", group_size=None, dtype=torch.bfloat16, device=CPU)
    head = loaded.source.linear(["model.embed_tokens"])
    rows, columns = 2048, 256
    assert head.weight_bytes < 1.1 * rows * columns
    assert linear_ops("smoothquant") == ("w8a8_linear",)


def test_an_interrupted_load_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scheme = default_scheme(load_config(BUNDLED), "gptq")
    said: list[str] = []

    def stop(line: str) -> None:
        said.append(line)
        if line.endswith("layer 2 of 6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_checkpoint(BUNDLED, scheme, CPU, stop)
    (unfinished,) = (tmp_path / "cache" / "gptq").iterdir()
    files = {path.name: path.stat().st_mtime_ns for path in unfinished.glob("layer-*")}
    assert len(files) == 2
    renamed: dict[str, int] = {}
    monkeypatch.setattr(
        shutil,
        "rmtree",
        lambda path, **_: renamed.update(
            {file.name: file.stat().st_mtime_ns for file in Path(path).glob("layer-*")}
        ),
    )
    kept = cached_checkpoint(BUNDLED, scheme, CPU)
    assert (kept / "config.json").is_file()
    assert {name: renamed[name] for name in files} == files


@pytest.mark.parametrize("layer", [2, 6])
def test_two_that_need_the_same_at_once_share_it(layer: int) -> None:
    """The other finishes, and removes the layers, after so many of the first one's."""
    scheme = default_scheme(load_config(BUNDLED), "smoothquant")
    others: list[bytes] = []

    def let_the_other_go_first(line: str) -> None:
        if line.endswith(f"layer {layer} of 6") and not others:
            others.append(b"")
            kept = cached_checkpoint(BUNDLED, scheme, CPU)
            others[0] = (kept / "model.safetensors").read_bytes()

    kept = cached_checkpoint(BUNDLED, scheme, CPU, let_the_other_go_first)
    assert (kept / "model.safetensors").read_bytes() == others[0]
    assert list(kept.parent.iterdir()) == [kept]


def test_what_another_finished_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies there when this one has its last layer and begins to write, without its layers."""
    scheme = default_scheme(load_config(BUNDLED), "smoothquant")
    files: list[int] = []

    def write_after_the_other(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(load, "write_checkpoint", write_checkpoint)
        other = cached_checkpoint(BUNDLED, scheme, CPU)
        files.append((other / "model.safetensors").stat().st_ino)
        write_checkpoint(*arguments, **options)

    monkeypatch.setattr(load, "write_checkpoint", write_after_the_other)
    kept = cached_checkpoint(BUNDLED, scheme, CPU)
    assert [(kept / "model.safetensors").stat().st_ino] == files
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("change", ["scheme", "calibration", "method", "sources"])
def test_the_cache_tells_apart_what_the_weights_depend_on(
    change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(load, "_quantize_into", lambda kept, *_: made.append(kept))
    config = load_config(BUNDLED)
    cached_checkpoint(BUNDLED, default_scheme(config, "gptq", 64), CPU)
    cached_checkpoint(BUNDLED, default_scheme(config, "gptq", 64), CPU)
    assert made[0] == made[1]
    if change == "calibration":
        monkeypatch.setattr(load, "calibration_text", lambda: "other")
    if change == "sources":
        (tmp_path / "gptq.py").write_text("floor = round")
        monkeypatch.setattr(identity, "_METHODS", tmp_path)
    scheme = default_scheme(
        config, "awq" if change == "method" else "gptq", 32 if change == "scheme" else 64
    )
    cached_checkpoint(BUNDLED, scheme, CPU)
    assert made[2] != made[0]


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"])
@pytest.mark.parametrize("method", ["none", "int8"])
def test_weights_that_are_not_finite_are_named_when_they_are_loaded(
    method: str, name: str, tmp_path: Path
) -> None:
    source = plain_directory(tmp_path / "plain")
    stored = load_file(source / WEIGHTS)
    stored[name].view(-1)[7] = -torch.inf
    save_file(stored, source / WEIGHTS)
    assert "not finite" in problem_of(lambda: run_from(source, method))
    assert repr(name) in problem_of(lambda: run_from(source, method))


def test_what_a_checkpoint_does_not_quantise_is_looked_at_too(tmp_path: Path) -> None:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    write_checkpoint(rounded(Scheme("int8", 8)), source, out, "compressed-tensors")
    change_tensors(out, model__norm__weight=torch.full((64,), torch.nan))
    assert problem_of(lambda: run_from(out, "int8")).startswith("model: 'model.norm.weight' holds")


def run_from(directory: Path, method: str) -> None:
    """The model, as an engine loads it."""
    loaded = load_weights(directory, method, group_size=None, dtype=torch.float32, device=CPU)
    ops = select_ops(CPU, torch.float32)
    Llama(loaded.config, loaded.source, ops, dtype=torch.float32, device=CPU)
