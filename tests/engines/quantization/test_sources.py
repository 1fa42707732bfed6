"""DenseSource and AwqSource: what a model gets from them."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.awq import quantize
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.grid import rtn_pack
from llmbench.engines.quantization.quantized import AwqSource, QuantizedWeights
from llmbench.kernels.packing import dequantize

from .tiny import tiny_model, tokens

CPU = torch.device("cpu")


def test_stacked_maps_are_the_single_ones_side_by_side() -> None:
    _, weights = tiny_model("qwen2")
    source = DenseSource(weights, torch.float32, CPU)
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkv"]
    x = torch.randn(5, 64)
    apart = [x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"] for name in names]
    stacked = source.linear(names)
    torch.testing.assert_close(stacked(x), torch.cat(apart, dim=1))
    assert stacked.weight_bytes == 4 * (64 + 1) * (64 + 32 + 32)


def test_a_tied_embedding_exists_once() -> None:
    """Unless a kernel packs the output projection: rows of tokens are looked up in the other."""
    _, weights = tiny_model("grouped heads, tied")
    source = DenseSource(weights, torch.float64, CPU)
    embedding = source.tensor("model.embed_tokens.weight")
    output = source.linear(["model.embed_tokens"])
    assert output.prepared[0].weight.data_ptr() == embedding.data_ptr()  # type: ignore[attr-defined]
    assert embedding.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_packed_maps_compute_what_their_codes_say(dtype: torch.dtype) -> None:
    config, weights = tiny_model("qwen2")
    quantized = quantize(config, weights, tokens(), group_size=32)
    source = AwqSource(quantized, dtype, CPU)
    names = [f"model.layers.1.self_attn.{part}_proj" for part in "qkv"]
    weight = torch.cat([dequantize(quantized.packed[name]) for name in names])
    bias = torch.cat([weights[f"{name}.bias"] for name in names])
    x = torch.randn(3, 64).to(dtype)
    expected = x.float() @ weight.T + bias
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    actual = source.linear(names)(x)
    assert actual.dtype == dtype
    assert float((actual.float() - expected).norm() / expected.norm()) < tolerance


def test_what_is_not_quantised_is_dense() -> None:
    config, weights = tiny_model("multi-head")
    source = AwqSource(quantize(config, weights, tokens(), group_size=32), torch.float32, CPU)
    x = torch.randn(2, 64)
    torch.testing.assert_close(source.linear(["lm_head"])(x), x @ weights["lm_head.weight"].T)
    assert torch.equal(source.tensor("model.norm.weight"), weights["model.norm.weight"])


def test_a_stack_half_quantised_is_refused() -> None:
    weights = QuantizedWeights(
        {"b.weight": torch.ones(16, 32)}, {"a": rtn_pack(torch.ones(16, 32), 32)}, 32
    )
    with pytest.raises(ConfigError, match="all quantised, or none"):
        AwqSource(weights, torch.float32, CPU).linear(["a", "b"])


def test_a_shape_the_kernel_cannot_take_is_refused_in_a_line() -> None:
    weights = QuantizedWeights({}, {"a": rtn_pack(torch.ones(24, 32), 32)}, 32)
    source = AwqSource(weights, torch.bfloat16, CPU, {"w4a16_linear": "torch-cpu"})
    with pytest.raises(ConfigError, match=r"'torch-cpu' can take \(out_features 24"):
        source.linear(["a"])
