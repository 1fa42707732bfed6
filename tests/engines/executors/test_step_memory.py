"""What a step takes, against what a pass with Triton's kernels allocates: they are called with real
tensors and compute nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

import pytest
import torch
from llmbench.engines.executors.step_memory import (
    StepShape,
    activation_bytes,
    graph_memory_bytes,
    logits_bytes,
    step_memory_bytes,
    widened_bytes,
)
from llmbench.engines.models.catalogue import resolve_dummy
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.kv_tensors import allocate_paged
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_config
from llmbench.engines.models.ops import ModelOps
from llmbench.engines.quantization.dummy import dummy_source
from llmbench.kernels import scratch
from llmbench.kernels.batch import PagedBatch
from llmbench.kernels.registry import implementations
from torch.profiler import ProfilerActivity, profile

CPU, BF16 = torch.device("cpu"), torch.bfloat16
TOKENS = 1024
KERNELS = {
    "attention_kernel": "attention_kernel",
    "norm_kernel": "rms_norm_kernel",
    "rope_kernel": "rope_cache_write_kernel",
    "activation_kernel": "silu_mul_kernel",
}


class _Idle:
    """A kernel that is launched and does nothing."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


@pytest.fixture
def idle_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    for module, kernel in KERNELS.items():
        monkeypatch.setattr(import_module(f"llmbench.kernels.triton.{module}"), kernel, _Idle())


def shape_of(name: str, **changes: Any) -> ModelConfig:
    return replace(load_config(resolve_dummy(name).directory), **changes)


def small(**changes: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 896,
        "num_heads": 16,
        "num_kv_heads": 4,
        "head_dim": 16,
        "num_layers": 3,
        "vocab_size": 64,
        "rope_scaling": None,
    }
    return shape_of("llama-3.1-8b", **(sizes | changes))


def peak_bytes(run: Callable[[], object]) -> int:
    """The most that PyTorch had allocated at a time, over what there was before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results: Any = profiler.profiler
    events = [one for one in results.kineto_results.events() if one.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.usefixtures("idle_kernels")
@pytest.mark.parametrize(
    "config",
    [
        small(),
        # Heads that are wider than the model, as Qwen3's.
        small(num_heads=32, head_dim=32, num_kv_heads=8),
        # The MLP is so narrow that attention takes more.
        small(intermediate_size=128),
    ],
    ids=["usual", "wide attention", "narrow MLP"],
)
def test_a_pass_allocates_no_more(config: ModelConfig) -> None:
    found = {field.name: _triton(field.name) for field in fields(ModelOps)}
    source = dummy_source(config, "none", group_size=None, dtype=BF16, device=CPU)
    model = Llama(config, source, ModelOps(**found), dtype=BF16, device=CPU, max_positions=TOKENS)
    positions = torch.arange(TOKENS)
    cache = allocate_paged(config, TOKENS // 16, 16, BF16, CPU)
    batch = PagedBatch((TOKENS,), (TOKENS,), torch.arange(TOKENS // 16)[None])

    def run() -> None:
        model.forward(
            torch.zeros_like(positions), positions, cache, batch, positions, positions[-1:]
        )

    run()  # what is allocated once
    said = activation_bytes(config, StepShape(TOKENS, 1, "bfloat16"))
    ids_bytes = positions.nbytes
    assert 0.99 * said <= peak_bytes(run) <= said + 2 * ids_bytes


def _triton(op: str) -> Callable[..., Any]:
    return next(one.function for one in implementations(op) if one.name == "triton")


def test_a_row_is_drawn_from_logits_and_their_logarithms() -> None:
    """10 rows of 1000 in bfloat16 (2 B), as float32, its logarithms (4 B each), and a rank."""
    assert logits_bytes(small(vocab_size=1000), StepShape(64, 10, "bfloat16")) == 110_000


@pytest.mark.parametrize(
    ("step", "elements"),
    [
        # Gate and up, 28672 x 4096 = 117 440 512 elements, lie in 2^27.
        (StepShape(257, 1, "bfloat16", layers=("w4a16_linear",)), 2**27),
        (StepShape(256, 1, "bfloat16", layers=("w4a16_linear",)), 0),
        (StepShape(257, 1, "bfloat16", layers=("w8a16_linear",)), 2**27),
        (StepShape(256, 1, "bfloat16", layers=("w8a16_linear",)), 0),
        # Multiplied as they are.
        (StepShape(8192, 256, "bfloat16", layers=("w8a8_linear",), head="w8a8_linear"), 0),
        # The output projection, 128256 x 4096, lies in 2^29; of eight bits with the layers' own.
        (StepShape(8192, 257, "bfloat16", layers=("w8a16_linear",), head="w8a16_linear"), 2**29),
        (StepShape(8192, 256, "bfloat16", layers=("w8a16_linear",), head="w8a16_linear"), 2**27),
        (StepShape(8192, 257, "bfloat16", ("w4a16_linear",), "w8a16_linear"), 2**27 + 2**29),
        # Layers of both: either may have the largest map.
        (StepShape(8192, 256, "bfloat16", ("linear", "w4a16_linear", "w8a16_linear")), 2**28),
    ],
)
def test_weights_that_are_widened(step: StepShape, elements: int) -> None:
    assert widened_bytes(shape_of("llama-3.1-8b"), step) == 2 * elements


def test_float32_widens_from_17_rows_on() -> None:
    shape = shape_of("llama-3.1-8b")
    steps = [StepShape(rows, 1, "float32", layers=("fp4_linear",)) for rows in (16, 17)]
    assert [widened_bytes(shape, step) for step in steps] == [0, 4 * 2**27]


def test_scratch_takes_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_buffers", {})
    scratch.scratch("test", (3 * 896, 256), BF16, CPU)
    step = StepShape(257, 1, "bfloat16", layers=("w4a16_linear",))
    config = small(intermediate_size=3 * 448)
    (buffer,) = scratch._buffers.values()
    assert widened_bytes(config, step) == buffer.nbytes


def test_a_step_is_the_sum() -> None:
    shape, step = shape_of("llama-3.1-8b"), StepShape(8192, 256, "bfloat16", ("w4a16_linear",))
    parts = (activation_bytes, logits_bytes, widened_bytes)
    assert step_memory_bytes(shape, step) == sum(part(shape, step) for part in parts)
    assert widened_bytes(shape, step) > 0


def test_graphs_of_an_8b_model_take_less_than_a_gigabyte() -> None:
    config = shape_of("llama-3.1-8b")
    logits = 256 * config.vocab_size * 2
    assert logits < graph_memory_bytes(config, 256, "bfloat16") < 2**30


def test_two_devices_share_what_lies_between_the_residuals_and_what_is_widened() -> None:
    """All rows of the residual and of the logits are on both."""
    shape, step = shape_of("llama-3.1-8b"), StepShape(1000, 256, "bfloat16", ("w8a16_linear",))
    both = replace(step, devices=2)
    assert activation_bytes(shape, both) == 1000 * (2 * 4096 + 128 + 3 * 7168) * 2
    assert logits_bytes(shape, both) == logits_bytes(shape, step)
    assert 2 * widened_bytes(shape, both) == widened_bytes(shape, step) == 2 * 2**27
