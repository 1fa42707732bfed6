"""What is decided of an engine before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.cost.weights import UNQUANTISED, WeightChoice
from llmbench.engines.errors import ConfigError
from llmbench.engines.executors.step_memory import StepShape, step_memory_bytes
from llmbench.engines.models.catalogue import resolve_dummy, resolve_model
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.describe import describe_model
from llmbench.engines.models.loader import load_config
from llmbench.engines.resolve import _default_kv_memory, _why_not_captured
from llmbench.engines.room import KV_MEMORY_SHARE, largest_step
from llmbench.engines.step import Limits
from llmbench.kernels import registry
from llmbench.kernels.registry import implements


@pytest.fixture(scope="module")
def bundled() -> ModelConfig:
    return load_config(resolve_model("bundled").directory)


def on_a_gpu(*forced: str) -> EngineConfig:
    return replace(
        engine_config("paged"),
        device="cuda",
        dtype="bfloat16",
        model_impl="native",
        force_kernels=forced,
    )


def test_decode_steps_are_captured_where_attention_reads_lengths_on_the_device(
    bundled: ModelConfig,
) -> None:
    pytest.importorskip("triton")
    assert _why_not_captured(on_a_gpu(), bundled) == ""


def test_forced_attention_that_reads_lengths_on_the_host_is_not_captured(
    bundled: ModelConfig,
) -> None:
    why = _why_not_captured(on_a_gpu("paged_attention=torch"), bundled)
    assert why == "paged_attention of 'torch' reads lengths on the host"


def test_a_step_that_reads_slots_on_the_host_is_not_captured(bundled: ModelConfig) -> None:
    pytest.importorskip("triton")
    why = _why_not_captured(on_a_gpu("rope_cache_write=reference"), bundled)
    assert why == "rope_cache_write of 'reference' reads slots on the host"
    assert _why_not_captured(on_a_gpu("argmax=reference"), bundled) == ""


def test_attention_that_triton_does_not_take_is_not_captured(bundled: ModelConfig) -> None:
    pytest.importorskip("triton")
    why = _why_not_captured(on_a_gpu(), replace(bundled, head_dim=320))
    assert why == "heads of 320 are too wide for paged_attention of 'triton'"


def test_a_plugin_says_that_it_reads_lengths_on_the_device(
    bundled: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.implementations("paged_attention")
    known = dict(registry._registered["paged_attention"])
    monkeypatch.setitem(registry._registered, "paged_attention", known)

    def attention(
        q: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        batch: object,
        scale: float,
        window: int | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        raise NotImplementedError

    attention.reads_lengths_on_device = True  # type: ignore[attr-defined]
    implements("paged_attention", backend="mine")(attention)
    assert _why_not_captured(on_a_gpu("paged_attention=mine"), bundled) == ""


@pytest.mark.parametrize(
    ("settings", "layer_bytes"),
    [
        ({"dtype": "bfloat16"}, 2.0),
        ({"dtype": "float32"}, 4.0),
        # A 16-bit scale and a 4-bit zero point for 32 weights.
        ({"dtype": "bfloat16", "quant": "rtn", "group_size": 32}, 0.5 + 2.5 / 32),
    ],
    ids=["bfloat16", "float32", "4 bits"],
)
def test_a_gpu_s_kv_room_is_a_share_of_what_the_weights_leave(
    settings: dict[str, object],
    layer_bytes: float,
    bundled: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free_bytes = 10**9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free_bytes, free_bytes))
    engine = replace(on_a_gpu(), quant="none", cuda_graphs="off")
    engine = replace(engine, **settings)  # type: ignore[arg-type]
    described = describe_model(resolve_model("bundled").directory, "native")
    hidden, inner, kv = bundled.hidden_size, bundled.intermediate_size, bundled.kv_size
    layers = bundled.num_layers * (2 * hidden * (bundled.q_size + kv) + 3 * hidden * inner)
    tables = (1 if bundled.tie_word_embeddings else 2) * bundled.vocab_size * hidden
    taken = layers * layer_bytes + tables * (4 if engine.dtype == "float32" else 2)
    limits = Limits(max_num_seqs=4, max_num_batched_tokens=64, max_model_len=64)
    layer_op = "linear" if engine.quant == "none" else "w4a16_linear"
    taken += step_memory_bytes(bundled, StepShape(64, 4, engine.dtype, layers=(layer_op,)))
    weights = WeightChoice.of(engine)
    room = _default_kv_memory(torch.device("cuda"), described, engine, weights, limits)
    assert room == pytest.approx((free_bytes - taken) * KV_MEMORY_SHARE, abs=1)
    # Another engine was here before: PyTorch keeps most of what it had, and lends it again.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10**8, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 9 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 10**7)
    left = _default_kv_memory(torch.device("cuda"), described, engine, weights, limits)
    assert left == pytest.approx(room - 10**7 * KV_MEMORY_SHARE, abs=1)


# Of 80 and 40 GB free, in bytes. Published sizes: Llama 3.1 8B has 8 030 261 248 parameters,
# Mistral 7B 7 248 023 552 (and 32 768 tokens), both hidden 4096, an MLP of 14336 and heads
# of 128. So a token of a step takes 2 B x (2 x 4096 + 128 + 3 x 14336) = 102 656 B, and a row that
# is drawn 11 B for each token of the vocabulary: logits, the same in float32, logarithms, a rank.
KV_ROOM = [
    # A prompt is computed whole: 131072 tokens, 13 455 327 232 B, and 256 rows of 128 256.
    ("llama-3.1-8b", "paged", 80, 0.9 * (80e9 - 16_060_522_496 - 13_455_327_232 - 361_168_896)),
    ("llama-3.1-8b", "paged", 40, 0.9 * (40e9 - 16_060_522_496 - 13_455_327_232 - 361_168_896)),
    # It is cut: 8192 tokens, 840 957 952 B.
    ("llama-3.1-8b", "vllm-v1", 80, 0.9 * (80e9 - 16_060_522_496 - 840_957_952 - 361_168_896)),
    ("llama-3.1-8b", "vllm-v1", 40, 0.9 * (40e9 - 16_060_522_496 - 840_957_952 - 361_168_896)),
    # 32768 tokens, 3 363 831 808 B, and rows of 32 768.
    ("mistral-7b", "paged", 80, 0.9 * (80e9 - 14_496_047_104 - 3_363_831_808 - 92_274_688)),
    ("mistral-7b", "paged", 40, 0.9 * (40e9 - 14_496_047_104 - 3_363_831_808 - 92_274_688)),
    ("mistral-7b", "vllm-v1", 80, 0.9 * (80e9 - 14_496_047_104 - 840_957_952 - 92_274_688)),
    ("mistral-7b", "vllm-v1", 40, 0.9 * (40e9 - 14_496_047_104 - 840_957_952 - 92_274_688)),
]


def with_free(gigabytes: int, patch: pytest.MonkeyPatch) -> None:
    room = (gigabytes * 10**9, gigabytes * 10**9)
    patch.setattr(torch.cuda, "mem_get_info", lambda _device: room)


def kv_room(model: str, preset: str) -> int:
    described = describe_model(resolve_dummy(model).directory, "native")
    engine = replace(engine_config(preset), device="cuda", dtype="bfloat16", quant="none")
    limits = engine.limits_for(described.config.max_position_embeddings)
    off = replace(engine, cuda_graphs="off")
    return _default_kv_memory(torch.device("cuda"), described, off, UNQUANTISED, limits)


@pytest.mark.parametrize(("model", "preset", "gigabytes", "room"), KV_ROOM)
def test_what_a_prompt_takes_is_no_room_for_the_cache(
    model: str, preset: str, gigabytes: int, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of a burst's prompts come in one step: it must have room beside a full cache."""
    with_free(gigabytes, monkeypatch)
    norms = 2 * 65 * 4096  # among the parameters, and not counted here
    assert kv_room(model, preset) == pytest.approx(room, abs=norms)


def test_a_gpu_without_room_for_a_cache_is_refused_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_free(24, monkeypatch)
    with pytest.raises(ConfigError) as raised:
        kv_room("llama-3.1-8b", "paged")
    assert str(raised.value) == (
        "kv_memory: 'auto' is not allowed; expected room beside 16.1 GB for weights, 13.8 GB for a "
        "step of 131072 tokens, but cuda has 24.0 GB free; lower --max-num-batched-tokens or "
        "--max-model-len, or the weights' bits with --quant"
    )
    assert kv_room("llama-3.1-8b", "vllm-v1") > 0


@pytest.mark.parametrize(
    ("settings", "ops"),
    [
        ({"quant": "none"}, ("linear", "linear")),
        ({"quant": "int8"}, ("w8a16_linear", "w8a16_linear")),
        ({"quant": "gptq", "quant_bits": 8}, ("w8a16_linear", "linear")),
        ({"quant": "awq", "quant_head": "int8"}, ("w4a16_linear", "w8a16_linear")),
        ({"quant": "rtn", "quant_activations": "int8"}, ("w4a8_linear", "linear")),
        ({"quant": "fp8"}, ("fp8_linear", "linear")),
    ],
)
def test_the_operations_of_the_largest_step(
    settings: dict[str, Any], ops: tuple[str, str], bundled: ModelConfig
) -> None:
    layers, head = ops
    weights = WeightChoice.of(replace(on_a_gpu(), **settings))
    limits = Limits(max_num_seqs=7, max_num_batched_tokens=99)
    step = largest_step(replace(bundled, dtype="bfloat16"), weights, limits)
    assert step == StepShape(99, 7, "bfloat16", (layers,), head)


def test_a_cpu_s_kv_room_goes_by_no_step() -> None:
    described = describe_model(resolve_dummy("llama-3.1-8b").directory, "native")
    limits = Limits(max_num_batched_tokens=131072)
    device = torch.device("cpu")
    assert _default_kv_memory(device, described, on_a_gpu(), UNQUANTISED, limits) == 2**30
