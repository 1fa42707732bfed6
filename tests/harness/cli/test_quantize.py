"""`llmbench quantize`: what it writes, what it refuses, how far it says it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from llmbench.engines.models import bundled
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.harness.quality import quantize as command
from safetensors.torch import load_file, save_file

from ...engines.quantization.tiny import tiny_model
from .quantizing import left_with, refused, write_model

BUNDLED = Path(bundled.__file__).parent


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "quant_method", "bits"),
    [
        (["--method", "gptq", "--group-size", "32"], "gptq", 4),
        (["--method", "gptq", "--bits", "8", "--asymmetric", "--no-act-order"], "gptq", 8),
        (["--method", "gptq", "--group-size", "-1", "--format", "compressed-tensors"], None, 4),
        (["--method", "awq", "--group-size", "32"], "awq", 4),
        (["--method", "rtn", "--bits", "8"], None, 8),
        (["--method", "smoothquant"], None, 8),
        (["--method", "fp8-static"], None, 8),
        (["--method", "nvfp4"], None, 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_is_written_is_a_checkpoint(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    quant_method: str | None,
    bits: int,
) -> None:
    out = tmp_path / "out"
    assert left_with(model, *options, "--out", out) == 0
    settings = json.loads((out / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == (quant_method or "compressed-tensors")
    _, quantized = read_checkpoint(out)
    assert quantized.scheme.bits == bits
    assert len(quantized.maps) == 14
    assert not (tmp_path / ".out.layers").exists()
    printed = capsys.readouterr().out
    assert "times smaller" in printed
    if options[1] in ("gptq", "awq"):
        # A row a layer: its loss, and that of rounding, which is larger.
        rows = [line.split() for line in printed.splitlines() if line.strip()[:2] in ("1 ", "2 ")]
        assert [row[0] for row in rows[:2]] == ["1", "2"]  # as progress numbers them
        assert all(float(row[1]) < float(row[2]) for row in rows[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "gptk"], "error: method: 'gptk' is not allowed; .*did you mean 'gptq'"),
        (["--method", "none"], "error: method: 'none' .* one of awq, .*, smoothquant, w8a8"),
        (["--method", "w4a16"], "method: 'w4a16' .* a method that quantises"),
        (["--method", "awq", "--bits", "8"], "bits: 8 .* 4 with awq"),
        (["--method", "gptq", "--bits", "3"], "4 or 8 with gptq"),
        (["--method", "gptq", "--group-size", "20"], "group_size: 20"),
        (["--method", "gptq", "--group-size", "0"], "group_size: 0 .* multiple of 8, at most 64"),
        (["--method", "rtn", "--group-size", "-8"], "group_size: -8 .* multiple of 8"),
        (
            ["--method", "rtn", "--group-size", "128"],
            r"group_size: 128 .* 64 \(the inputs of self_attn.q_proj\), or -1: all of a row$",
        ),
        (["--method", "int8", "--group-size", "32"], "int8 has no groups"),
        (["--method", "rtn", "--act-order"], "act_order: True .* gptq, not rtn"),
        (["--method", "rtn", "--samples", "8"], "rtn calibrates nothing"),
        (["--method", "gptq", "--sequence-length", "65"], "at most the model's 64 positions"),
        (["--method", "gptq", "--format", "gguf"], "format: 'gguf'"),
        (["--method", "smoothquant", "--format", "gptq"], "format: 'gptq'"),
        (["--method", "int8", "--format", "gptq"], "'gptq' .* holds int8 in 8 bits with a scale"),
        (["--method", "int8", "--format", "gptq_v2"], "format: 'gptq_v2' .*, as compressed-ten"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_settings_that_cannot_work_are_refused_in_a_line(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    import re

    line = refused(capsys, model, *options, "--out", tmp_path / "out")
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.inf
    save_file(weights, model / "model.safetensors")
    for method in ("gptq", "rtn"):
        line = refused(capsys, model, "--method", method, "--out", tmp_path / "out")
        assert "'model.layers.1.mlp.up_proj.weight' holds numbers that are not finite" in line
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["gptq", "rtn"])
def test_it_says_how_far_it_is(
    method: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers, where there are any, and what is written, a line for each tenth."""
    assert left_with(model, "--method", method, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert ("layer 2 of 2: loss" in said) == (method == "gptq")
    total = len(tiny_model("grouped heads, tied")[1])
    assert f"{total} of {total} parameters written" in said
    assert said.count("parameters written") == 10
    assert ("CompressedTensorsConfig(dequantize=True)" in said) == (method == "rtn")
    assert left_with(model, "--out", tmp_path / "quiet", "--quiet") == 0
    assert "written" not in capsys.readouterr().err


def test_what_is_there_is_replaced_only_when_asked(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert left_with(model, "--method", "rtn", "--out", out) == 0
    before = (out / "config.json").read_bytes()
    assert "--overwrite" in refused(capsys, model, "--method", "int8", "--out", out)
    assert (out / "config.json").read_bytes() == before
    assert left_with(model, "--method", "int8", "--overwrite", "--out", out) == 0
    assert (out / "config.json").read_bytes() != before
    # A quantised model is no input, and no other directory is written over.
    assert "not quantised yet" in refused(capsys, out, "--out", tmp_path / "twice")
    assert "out:" in refused(capsys, model, "--overwrite", "--out", model)


@pytest.mark.parametrize("out", ["file/out", "a" * 250, "~nobody-of-this-name/file/out"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    out: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "~nobody-of-this-name").mkdir()
    (tmp_path / "~nobody-of-this-name" / "file").write_text("")
    monkeypatch.setattr(command, "quantize_model", None)
    assert "out:" in refused(capsys, model, "--out", out)


@pytest.mark.parametrize("method", ["gptq", "rtn"])
def test_a_disk_that_fills_up_is_said_in_a_line_and_costs_nothing(
    method: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files may hold as much as a layer needs (of gptq, which keeps layers) or nothing at all, and
    not the model; with room again, the same command goes on."""
    import resource

    out = tmp_path / "out"
    arguments = (model, "--method", method, "--group-size", "32", "--out", out)
    assert left_with(model, "--method", "rtn", "--out", out) == 0
    before = (out / "model.safetensors").read_bytes()
    for limit in (1000, len(before) * 2 // 3):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            line = refused(capsys, *arguments, "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "cannot be written" in line
        assert "(File too large)" in line
        assert (out / "model.safetensors").read_bytes() == before
    left = {path.name for path in tmp_path.iterdir()}
    layers = {".out.layers"} if method == "gptq" else set()
    assert left == {"model", "out", *layers}
    assert left_with(*arguments, "--overwrite", "--resume") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


def test_the_bundled_model_runs_as_it_was_quantised(tmp_path: Path) -> None:
    """From the command to tokens: the engine finds out by itself what the directory is."""
    from llmbench.engines import LLM, SamplingParams

    out = tmp_path / "out"
    options = ("--samples", "4", "--sequence-length", "128", "--quiet")
    assert left_with("bundled", "--method", "gptq", *options, "--out", out) == 0
    llm = LLM(str(out), max_model_len=64)
    answer = llm.generate(["The ship"], SamplingParams(max_tokens=4))[0]
    assert len(answer.token_ids) == 4
