"""What is decided of an engine before anything is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.describe import describe_model
from llmbench.engines.models.loader import load_config
from llmbench.engines.resolve import CUDA_KV_MEMORY_SHARE, _default_kv_memory, _why_not_captured
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
    room = _default_kv_memory(torch.device("cuda"), described, engine)
    assert room == pytest.approx((free_bytes - taken) * CUDA_KV_MEMORY_SHARE, abs=1)
    # Another engine was here before: PyTorch keeps most of what it had, and lends it again.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10**8, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 9 * 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 10**7)
    left = _default_kv_memory(torch.device("cuda"), described, engine)
    assert left == pytest.approx(room - 10**7 * CUDA_KV_MEMORY_SHARE, abs=1)
