"""`llmbench quantize` that is ended early: what it says, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from .quantizing import left_with, refused, write_model


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def test_an_interrupted_run_says_how_to_go_on_and_does(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (model, "--group-size", "32", "--out", tmp_path / "out")
    whole = tmp_path / "whole"
    assert left_with(model, "--group-size", "32", "--out", whole) == 0

    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_stop(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LayerStore, "save", save_and_stop)
        patched.setattr("sys.argv", ["llmbench", "quantize", *map(str, arguments)])
        assert left_with(*arguments) == 130
    said = capsys.readouterr().err
    assert "interrupted after 1 of 2 layers" in said
    assert said.strip().endswith(f"--out {tmp_path / 'out'} --resume")
    assert not (tmp_path / "out").exists()
    # Not by mistake from the start, nor with other settings.
    assert "--resume" in refused(capsys, *arguments)
    other = (model, "--group-size", "16", "--out", tmp_path / "out", "--resume")
    assert "same model, calibration and settings" in refused(capsys, *other)
    assert left_with(*arguments, "--resume") == 0
    ours, expected = (load_file(path / "model.safetensors") for path in (tmp_path / "out", whole))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
    assert not (tmp_path / ".out.layers").exists()


@pytest.fixture
def interrupted(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`out`, whose GPTQ on 4 windows of 32 tokens has been ended after its first layer."""
    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_stop(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(LayerStore, "save", save_and_stop)
        assert left_with(model, "--samples", "4", "--sequence-length", "32", "--out", out) == 130
    return out


def test_the_same_tokens_in_windows_of_another_length_are_another_calibration(
    model: Path, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ("--samples", "2", "--sequence-length", "64", "--out", interrupted)
    line = refused(capsys, model, *other, "--resume")
    assert "same model, calibration and settings" in line
    # What cannot be gone on with is not proposed.
    assert "--resume" not in refused(capsys, model, *other)


def test_a_method_without_layers_leaves_those_of_another(
    model: Path, interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = tmp_path / ".out.layers" / "layer-00000.safetensors"
    arguments = (model, "--method", "rtn", "--out", interrupted)
    assert "1 layers of another quantisation" in refused(capsys, *arguments)
    assert "same model, calibration" in refused(capsys, *arguments, "--resume")
    assert layers.exists()
    assert left_with(*arguments, "--overwrite") == 0
    assert not layers.exists()


def test_ended_from_outside_it_says_how_to_go_on(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """SIGTERM, after a layer; what the process did about it before, it does again."""
    import os
    import signal

    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_end(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(LayerStore, "save", save_and_end)
    assert left_with(model, "--group-size", "32", "--out", tmp_path / "out") == 130
    assert "interrupted after 1 of 2 layers; this goes on: " in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
