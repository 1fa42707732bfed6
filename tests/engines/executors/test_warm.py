"""Whether steps before the first request meet all that Triton would compile later: launches are
noted with what it compiles anew for, and compute nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.engines.api import SamplingParams
from llmbench.engines.assemble import LoadedModel, load_model
from llmbench.engines.config import engine_config
from llmbench.engines.executors.inputs import StepInputs
from llmbench.engines.executors.torch import TorchExecutor
from llmbench.engines.executors.warm import (
    WarmCache,
    _step,
    row_counts,
    warm_draws,
    warm_steps,
)
from llmbench.engines.models.catalogue import resolve_dummy, resolve_model
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.kv_tensors import allocate_contiguous, allocate_paged
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_config
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.dummy import dummy_source
from llmbench.engines.resolve import resolve
from llmbench.engines.sampling import Draw, choose
from llmbench.engines.step import Limits
from llmbench.kernels import dispatch
from llmbench.kernels.triton import nibbles
from torch import Tensor
from torch.nn import functional

from ...kernels.triton_launches import Launch, launches

CPU, BF16 = torch.device("cpu"), torch.bfloat16
KERNELS = [
    "activation_kernel.silu_mul_kernel",
    "attention_kernel.attention_kernel",
    "attention_kernel.reduce_segments_kernel",
    "cache_kernel.quantized_cache_write_kernel",
    "codes_kernel.codes_kernel",
    "nibbles_kernel.nibbles_kernel",
    "nibbles_kernel.widen_kernel",
    "norm_kernel.rms_norm_kernel",
    "rope_kernel.rope_cache_write_kernel",
    "rope_kernel.rope_kernel",
    "sample_kernel.sample_kernel",
    "splits_kernel.add_splits_kernel",
    "token_codes_kernel.token_codes_kernel",
    "w4a8_kernel.w4a8_kernel",
    "w8a16_kernel.w8a16_kernel",
    "w8a16_kernel.widen_kernel",
]
LIMITS = Limits(max_num_seqs=160, max_num_batched_tokens=1600, max_model_len=1100)
OPS = {
    "none": {"linear": "torch"},
    "w8a8": {"w8a8_linear": "triton"},
    "int8": {"w8a16_linear": "triton"},
    "rtn": {"w4a16_linear": "triton"},
    "rtn+a8": {"w4a8_linear": "triton"},
    "fp8": {"fp8_linear": "triton-widened"},
    "nvfp4": {"fp4_linear": "triton-weight-only"},
}


def shape() -> ModelConfig:
    config = load_config(resolve_dummy("llama-3.1-8b").directory)
    return replace(
        config,
        hidden_size=256,
        intermediate_size=640,
        num_heads=8,
        num_kv_heads=2,
        head_dim=32,
        num_layers=2,
        vocab_size=1024,
        rope_scaling=None,
    )


def executor(quant: str, kv_dtype: str, block_size: int | None) -> tuple[TorchExecutor, WarmCache]:
    """With Triton's kernels on the CPU, which nobody runs."""
    config, (method, _, activations) = shape(), quant.partition("+")
    ops = ["rms_norm", "add_rms_norm", "rope", "rope_cache_write", "silu_mul", "sample"]
    ops += ["paged_attention", "contiguous_attention", "quantized_cache_write"]
    ops += ["quantized_paged_attention", "quantized_contiguous_attention"]
    force = dict.fromkeys(ops, "triton") | OPS[quant]
    source = dummy_source(
        config,
        method,
        group_size=128 if method == "rtn" else None,
        activations="int8" if activations else "auto",
        dtype=BF16,
        device=CPU,
        force=force,
    )
    model = Llama(
        config,
        source,
        select_ops(CPU, BF16, force),
        dtype=BF16,
        device=CPU,
        max_positions=LIMITS.max_model_len,
    )
    if block_size is None:
        cache = allocate_contiguous(config, 1200, BF16, CPU, kv_dtype)
        return TorchExecutor(model, cache, force=force), WarmCache(1200, None)
    cache = allocate_paged(config, 80, block_size, BF16, CPU, kv_dtype)
    return TorchExecutor(model, cache, force=force), WarmCache(80 * block_size, block_size)


def any_steps(cache: WarmCache, count: int, seed: int) -> list[StepInputs]:
    """Decodes of any number and length, beside any chunks of prompts, as policies mix them."""
    draw = random.Random(seed)
    found: list[StepInputs] = []
    while len(found) < count:
        decodes = draw.choice([0, 0, 1, draw.randint(1, 40), draw.randint(1, LIMITS.max_num_seqs)])
        prompts = draw.choice([0, 0, 1, draw.randint(1, 8)])
        prompts = min(prompts, LIMITS.max_num_seqs - decodes)
        queries = [1] * decodes
        left = LIMITS.max_num_batched_tokens - decodes
        for _ in range(prompts):
            queries.append(draw.randint(1, min(LIMITS.max_model_len, left // prompts)))
        kvs = [draw.randint(query, LIMITS.max_model_len) for query in queries]
        if queries:
            found.append(_step(queries, kvs, draw.randint(1, len(queries)), cache))
    return found


def any_draw(draw: random.Random) -> Draw:
    sampling = SamplingParams(
        temperature=draw.choice([0.0, 1.0]),
        top_k=draw.choice([0, 1, 20]),
        top_p=draw.choice([1.0, 0.9]),
        min_p=draw.choice([0.0, 0.1]),
        repetition_penalty=draw.choice([1.0, 1.0, 1.1]),
        frequency_penalty=draw.choice([0.0, 0.0, 0.2]),
    )
    return Draw(sampling, draw.randrange(100), 0, (1, 2), (3,))


class _Unread:
    """A widened weight [K, N], by which nothing is multiplied: that is cuBLAS's, and slow here."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Tensor:
        x, wide = arguments
        return x.new_zeros(len(x), wide.columns)


@pytest.fixture
def no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what no kernel of Triton's computes."""
    widened = nibbles.widened

    def unread(w: nibbles.Nibbles, dtype: torch.dtype) -> _Unread:
        return _Unread(widened(w, dtype).shape[1])

    def linear(x: Tensor, weight: Tensor, _bias: Tensor | None = None) -> Tensor:
        return x.new_zeros(len(x), len(weight))

    monkeypatch.setattr(nibbles, "widened", unread)
    monkeypatch.setattr(functional, "linear", linear)


def forms(seen: list[Launch]) -> set[tuple[object, ...]]:
    return {(launch.kernel.fn.__name__, launch.variant) for launch in seen}


@pytest.mark.usefixtures("no_products")
@pytest.mark.parametrize(
    ("quant", "kv_dtype", "block_size"),
    [
        *((quant, "auto", 16) for quant in OPS),
        ("none", "int8", 16),
        ("none", "fp8", 16),
        ("none", "auto", None),
    ],
)
def test_no_later_step_meets_a_form_that_is_new(
    quant: str, kv_dtype: str, block_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Forced on a CPU, Triton's code is accepted where it is interpreted; here it is noted.
    monkeypatch.setattr(dispatch, "interpreting", lambda: True)
    with launches(*KERNELS) as seen:
        run, cache = executor(quant, kv_dtype, block_size)
        run.warm_up(warm_steps(LIMITS, cache), warm_draws())
        met = forms(seen)
        seen.clear()
        draw = random.Random(1)
        for step in any_steps(cache, 150, seed=2):
            run.warm_up([step], ())
            rows = len(step.logit_rows)
            choose(
                torch.zeros(rows, 1024, dtype=BF16),
                [any_draw(draw) for _ in range(rows)],
                range(rows),
                run._force,
            )
        later = forms(seen)
    kernels = {name for name, _ in later}
    assert {"attention_kernel", "sample_kernel", "reduce_segments_kernel"} <= kernels
    assert later <= met


def test_the_last_step_is_the_largest_there_may_be() -> None:
    *_, last = warm_steps(LIMITS, WarmCache(1280, 16))
    assert (len(last.token_ids), len(last.logit_rows)) == (1600, 2)
    small = Limits(max_num_seqs=3, max_num_batched_tokens=100, max_model_len=20)
    *_, last = warm_steps(small, WarmCache(48, 16))
    assert last.query_lengths == last.kv_lengths == [20] * 5
    assert last.logit_rows == [19, 39, 59]
    assert last.tables == [[0, 0]] * 5
    assert set(last.slots) == {0}


def test_rows_that_meet_each_tile_and_split() -> None:
    assert row_counts(1) == (1,)
    assert row_counts(33) == (1, 17, 33)
    assert row_counts(1000) == (1, 17, 33, 65, 129, 193, 257, 513, 1000)
    assert row_counts(10**6)[-3:] == (128 * 128 + 1, 256 * 128 + 1, 10**6)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    files = resolve_model("bundled")
    return load_model(
        files, resolve(engine_config(dtype="float32", device="cpu", max_model_len=64), files)
    )


@pytest.mark.parametrize("block_size", [16, None])
def test_every_warm_step_is_one_that_a_model_computes(
    block_size: int | None, loaded: LoadedModel
) -> None:
    limits = Limits(max_num_seqs=20, max_num_batched_tokens=150, max_model_len=64)
    cache = (
        allocate_contiguous(loaded.config, 80, torch.float32, CPU)
        if block_size is None
        else allocate_paged(loaded.config, 5, block_size, torch.float32, CPU)
    )
    run = TorchExecutor(loaded.model, cache)
    run.warm_up(warm_steps(limits, WarmCache(80, block_size)), warm_draws())
    written = torch.stack([tensor.flatten(0, -3) for tensor in cache.keys])
    assert bool(written[:, 0].any())
    assert not bool(written[:, 1:].any())
