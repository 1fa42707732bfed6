"""What a run says of its cache, on the bundled model."""

from __future__ import annotations

import gc
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from llmbench.engines import assemble
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.models import bundled
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.kv_tensors import KVTensors
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.rounding import rounded_model
from llmbench.engines.resolved import ResolvedEngine
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.machine.kept_peaks import MachinePeaks, keep_peaks, machine_of
from llmbench.harness.result import Result
from llmbench.harness.run import experiment
from llmbench.harness.run.experiment import measure, prepare, settings_of
from llmbench.harness.run.watch import Silent
from llmbench.kernels import registry


def run(
    model: str = "bundled",
    *,
    quality_tokens: int = 128,
    quality_reference: str | None = None,
    **settings,
) -> Result:
    limits = {"max_model_len": 256, "kv_memory_bytes": 2**22}
    engine = engine_config(dtype="float32", device="cpu", **limits, **settings)
    load = LoadConfig(num_requests=3, max_output_len=8, max_input_len=64)
    config = RunConfig(
        model,
        engine,
        load,
        warmup_requests=0,
        quality_tokens=quality_tokens,
        quality_reference=quality_reference,
    )
    return measure(prepare(config, Silent()), Silent()).result


def test_a_run_finds_nothing_of_its_warm_up_in_the_cache(tmp_path: Path) -> None:
    """In a text of so few tokens prompts begin where those of the warm-up did."""
    corpus = tmp_path / "short.txt"
    corpus.write_text("one two")
    engine = engine_config(
        "vllm-v1", dtype="float32", device="cpu", max_model_len=256, kv_memory_bytes=2**22
    )
    load = LoadConfig(
        num_requests=2, max_concurrency=1, max_output_len=2, max_input_len=64, corpus=corpus
    )
    cold = RunConfig("bundled", engine, load, warmup_requests=0, quality_tokens=0)
    found = [
        measure(prepare(replace(cold, warmup_requests=count), Silent()), Silent()).result
        for count in (0, 2)
    ]
    assert [one.counters.prefix_hit_tokens for one in found] == [0, 0]


def test_a_cache_is_given_back_before_another_model_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And before the next repeat, which serves with the same weights and a cache of its own."""
    caches: list[ReferenceType[KVTensors]] = []
    allocate = assemble.allocate_paged

    def allocate_and_watch(*arguments: Any) -> KVTensors:
        made = allocate(*arguments)
        caches.append(ref(made))
        return made

    def judge(*_: object) -> None:
        gc.collect()
        assert [one() for one in caches] == [None]

    monkeypatch.setattr(assemble, "allocate_paged", allocate_and_watch)
    monkeypatch.setattr(experiment, "judge_quality", judge)
    engine = engine_config(  # in bfloat16 steps are one call
        dtype="bfloat16", device="cpu", max_model_len=256, kv_memory_bytes=2**22
    )
    load = LoadConfig(num_requests=3, max_output_len=8, max_input_len=64)
    prepared = prepare(RunConfig("bundled", engine, load, quality_tokens=128), Silent())
    loaded = experiment.load(prepared, Silent())
    measure(prepared, Silent(), loaded)
    assert len(caches) == 1


def test_a_setting_that_no_result_can_hold_is_found_before_the_run() -> None:
    load = LoadConfig(num_requests=3, max_output_len=8, max_input_len=64)
    config = RunConfig("bundled", engine_config(device="cpu"), load, slo_s={"ttft": math.inf})
    with pytest.raises(ConfigError, match=r"slo\.ttft: inf is not allowed"):
        prepare(config, Silent())


def test_the_code_of_a_kernel_of_ones_own_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was edited between two runs left their settings alike."""
    ours = {one.name: one for one in registry.implementations("silu_mul")}  # which it loads
    monkeypatch.setitem(registry._registered, "silu_mul", ours)
    file = tmp_path / "gates.py"
    file.write_text(
        "from llmbench.kernels.reference.activation import silu_mul as ours\n"
        "def gates(gate_up):\n    return ours(gate_up)\n"
    )
    load = LoadConfig(num_requests=3, max_output_len=8, max_input_len=64)

    def settings(*kernels: str) -> dict[str, Any]:
        engine = engine_config(device="cpu", max_model_len=256, force_kernels=kernels)
        return settings_of(prepare(RunConfig("bundled", engine, load), Silent()))

    assert "own_kernel_sources" not in settings("silu_mul=torch")
    before = settings(f"silu_mul={file}:gates")["own_kernel_sources"]
    file.write_text(file.read_text() + "# faster\n")
    assert settings(f"silu_mul={file}:gates")["own_kernel_sources"] != before


@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize(("kv_dtype", "most_kl"), [("int8", 1e-3), ("fp8", 1e-2)])
def test_a_quantised_cache_is_counted_and_judged(kv: str, kv_dtype: str, most_kl: float) -> None:
    result = run(kv=kv, kv_dtype=kv_dtype)
    # 6 layers, key and value, 2 heads of 64 one-byte codes and a two-byte scale; 4 MiB of them.
    assert result.kv is not None
    assert result.memory is not None
    assert result.kv.bytes_per_token == 1584
    tokens = 2647 if kv == "contiguous" else 2640  # 165 blocks of 16
    assert result.kv.capacity_tokens == tokens
    assert result.memory.kv_bytes == tokens * 1584
    assert result.config["kv_dtype"] == kv_dtype
    assert result.label.endswith(f" + {kv_dtype} KV")
    assert {"quantized_cache_write", f"quantized_{kv}_attention"} <= set(result.kernels)
    # Whoever computed something is named; on a CPU that is whole decode steps, too.
    assert set(result.kernel_calls) <= set(result.kernels)
    quality = result.quality
    assert quality is not None
    assert quality.kl_mean is not None
    assert 0 < quality.kl_mean < most_kl
    assert quality.compared_tokens == 24
    assert quality.text_kl_mean is not None
    assert 0 < quality.text_kl_mean < most_kl
    assert quality.text_kl_p99 is not None
    assert quality.text_kl_mean < quality.text_kl_p99
    assert quality.text_top1_agreement is not None
    assert quality.text_top1_agreement > 0.9
    assert quality.perplexity_tokens == 127
    assert quality.perplexity is not None
    assert quality.reference_perplexity is not None
    assert quality.perplexity != quality.reference_perplexity
    assert quality.perplexity == pytest.approx(quality.reference_perplexity, rel=0.02)


def test_the_models_own_dtype_has_nothing_to_be_compared_with() -> None:
    result = run()
    assert result.config["kv_dtype"] == "auto"
    assert result.kv is not None
    assert result.kv.bytes_per_token == 6 * 2 * 2 * 64 * 4
    assert result.label == "paged"
    assert {"rope_cache_write", "paged_attention"} <= set(result.kernels)
    # Whoever computed something is named; on a CPU that is whole decode steps, too.
    assert set(result.kernel_calls) <= set(result.kernels)
    assert {"prefix_cache", "throttling"} <= {check.id for check in result.validity.checks}
    quality = result.quality
    assert quality is not None
    assert quality.kl_mean is None
    assert quality.text_kl_mean is None
    assert quality.reference_perplexity is None


def rounded(place: Path) -> Path:
    """The bundled model as a directory that says nothing of where it is from."""
    source = bundled.model_directory()
    config, weights = load_model_directory(source)
    model = rounded_model(config, weights, "rtn", 32, torch.device("cpu"))
    write_checkpoint(model, source, place / "rounded", "compressed-tensors")
    return place / "rounded"


def test_a_checkpoint_that_was_quantised_before_has_no_reference(tmp_path: Path) -> None:
    result = run(str(rounded(tmp_path)))
    assert result.label == "paged + w4a16"
    assert (result.config["quant"], result.config["group_size"]) == ("w4a16", 32)
    assert {"linear", "w4a16_linear"} <= set(result.kernels)
    quality = result.quality
    assert quality is not None
    assert quality.perplexity is not None
    assert quality.perplexity > 1
    assert quality.reference_perplexity is quality.kl_mean is quality.top1_agreement is None
    assert "quantised before" in quality.caveat
    assert quality.reference.startswith("none")
    assert "quality_reference" not in result.config


def test_beside_the_model_that_it_was_made_from_it_has_one(tmp_path: Path) -> None:
    """And its numbers are those of the same method on that model, which repeats exactly."""
    result = run(str(rounded(tmp_path)), quality_reference="bundled")
    asked = run(quant="rtn", group_size=32)
    assert result.config["quality_reference"] == "bundled"
    found, expected = result.quality, asked.quality
    assert found is not None
    assert expected is not None
    assert found.text_kl_mean is not None
    assert found.text_kl_mean > 0
    assert found.reference == "bundled in float32, unquantised" == expected.reference
    assert "quantised before" not in found.caveat
    told = {"caveat": ""}
    assert found.model_copy(update=told) == expected.model_copy(update=told)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ("", {"quality_tokens": 0}, "unset with --quality-tokens 0"),
        ("", {"load_format": "dummy"}, "unset with random weights"),
        ("plain", {}, "unset: bundled was not quantised before"),
        ("itself", {}, "a model that is not quantised"),
        ("words", {}, "a model of 2048 words; it has 2047"),
        ("tokenizer", {}, "a model with the same tokenizer"),
    ],
)
def test_a_reference_that_cannot_be_one_is_refused(
    change: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model, other = str(rounded(tmp_path)), tmp_path / "other"
    shutil.copytree(bundled.model_directory(), other)
    reference = model if change == "itself" else str(other)
    if change == "plain":
        model = "bundled"
    if change == "words":
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps({**config, "vocab_size": 2047}))
    if change == "tokenizer":
        told = json.loads((other / "tokenizer.json").read_text())
        told["model"]["merges"] = told["model"]["merges"][:-50]
        (other / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=f"quality_reference: .*{message}"):
        run(model, quality_reference=reference, **settings)


def test_beside_quantised_weights_the_reference_has_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a run with awq and int8 keys, the reference is loaded without awq and read without int8.

    Searching for scales takes long and is not the point: both models are the unquantised one.
    """
    quality = run(kv_dtype="int8").quality
    assert quality is not None
    asked = []
    load = assemble.load_model

    def load_model(
        files: ModelFiles, engine: ResolvedEngine, report: assemble.Report = print
    ) -> assemble.LoadedModel:
        asked.append(engine.quant)
        return load(files, replace(engine, quant="none"), report)

    monkeypatch.setattr(assemble, "load_model", load_model)
    both = run(quant="awq", kv_dtype="int8").quality
    assert asked == ["awq", "none"]
    assert both == quality


def test_a_run_is_held_against_the_peaks_of_this_machine_if_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "llmbench.harness.machine.peaks.peaks_path", lambda: tmp_path / "peaks.json"
    )
    without = run()
    assert "mfu" not in without.metrics
    assert "llmbench machine" in without.absent["mbu"]
    assert without.peaks is None

    machine = machine_of(torch.device("cpu"))
    peaks = MachinePeaks(*machine, 1e12, {"fp32": 1e13}, "2026-01-01T00:00:00+00:00")
    keep_peaks(tmp_path / "peaks.json", peaks)
    found = run()
    assert found.peaks is not None
    assert (found.peaks.dtype, found.peaks.bytes_per_s) == ("fp32", 1e12)
    assert 0 < found.metrics["mfu"].stats["prefill"] < 1
    assert 0 < found.metrics["mbu"].stats["decode"] < 1
    # Energy is there or its reason is, whatever this machine counts.
    assert ("energy_per_token" in found.metrics) != ("energy_per_token" in found.absent)
