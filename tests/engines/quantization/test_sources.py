"""DenseSource and PackedSource: what a model gets from them."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.grid import GridFormat, rtn_pack
from llmbench.engines.quantization.quantize import quantize_model
from llmbench.engines.quantization.quantized import PackedSource, QuantizedMap, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme, default_scheme

from .dequantized import dequantized_weight
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
    quantized = quantize_model(config, weights, default_scheme(config, "awq", 32), tokens())
    source = PackedSource(quantized, dtype, CPU)
    names = [f"model.layers.1.self_attn.{part}_proj" for part in "qkv"]
    weight = torch.cat([dequantized_weight(quantized.maps[name].weight) for name in names])
    bias = torch.cat([weights[f"{name}.bias"] for name in names])
    x = torch.randn(3, 64).to(dtype)
    expected = x.float() @ weight.T + bias
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    actual = source.linear(names)(x)
    assert actual.dtype == dtype
    assert float((actual.float() - expected).norm() / expected.norm()) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_activations_are_rounded_where_weights_have_four_bits(dtype: torch.dtype) -> None:
    """By no more than half a step of each group of 32, of which 127 are its largest value; a
    projection in another form is as it was."""
    config, weights = tiny_model("qwen2")
    quantized = quantize_model(config, weights, default_scheme(config, "awq", 32), tokens())
    exact, rounded = (
        PackedSource(quantized, dtype, CPU, activations=asked) for asked in ("auto", "int8")
    )
    name, x = "model.layers.1.mlp.down_proj", torch.randn(6, 96).to(dtype)
    weight = dequantized_weight(quantized.maps[name].weight)
    apart = (rounded.linear([name])(x) - exact.linear([name])(x)).float().abs()
    largest = x.float().unflatten(1, (-1, 32)).abs().amax(-1)
    bound = largest / 254 @ weight.unflatten(1, (-1, 32)).abs().sum(-1).T
    rounding = 0 if dtype == torch.float32 else 2.0**-7 * exact.linear([name])(x).float().abs()
    assert bool((apart <= 1.001 * bound + rounding + 1e-6).all())
    assert float(apart.max()) > 0
    head = "model.embed_tokens"
    x = torch.randn(2, 64).to(dtype)
    assert torch.equal(rounded.linear([head])(x), exact.linear([head])(x))


def test_what_is_not_quantised_is_dense() -> None:
    config, weights = tiny_model("multi-head")
    source = PackedSource(
        quantize_model(config, weights, default_scheme(config, "awq", 32), tokens()),
        torch.float32,
        CPU,
    )
    x = torch.randn(2, 64)
    torch.testing.assert_close(source.linear(["lm_head"])(x), x @ weights["lm_head.weight"].T)
    assert torch.equal(source.tensor("model.norm.weight"), weights["model.norm.weight"])


SCHEME = Scheme("rtn", 4, 32, symmetric=False)


def packed(rows: int, columns: int = 32, group_size: int = 32) -> QuantizedMap:
    return QuantizedMap(rtn_pack(torch.randn(rows, columns), GridFormat(4, group_size)))


@pytest.mark.parametrize("other", ["dense", "other groups", "another order", "8 bits"])
def test_maps_that_do_not_stack_stand_side_by_side(other: str) -> None:
    """As a checkpoint that leaves one of q, k and v alone has them, or orders each by itself."""
    b = {
        "dense": None,
        "other groups": packed(16, group_size=16),
        "another order": QuantizedMap(packed(16).weight, torch.randperm(32)),
        "8 bits": QuantizedMap(rtn_pack(torch.randn(16, 32), GridFormat(8, 32))),
    }[other]
    dense = {"b.weight": torch.randn(16, 32), "b.bias": torch.randn(16), "a.bias": torch.randn(8)}
    maps = {"a": packed(8)} | ({} if b is None else {"b": b})
    source = PackedSource(QuantizedModel(SCHEME, dense, maps), torch.float32, CPU)
    x = torch.randn(3, 32)
    wb = dense["b.weight"] if b is None else dequantized_weight(b.weight)
    x_of_b = x if b is None or b.order is None else x[:, b.order]
    expected = [
        x @ dequantized_weight(maps["a"].weight).T + dense["a.bias"],
        x_of_b @ wb.T + dense["b.bias"],
    ]
    linear = source.linear(["a", "b"])
    torch.testing.assert_close(linear(x), torch.cat(expected, dim=1), rtol=1e-4, atol=1e-4)
    assert linear.weight_bytes > 0


def test_maps_that_share_an_order_are_stacked() -> None:
    order = torch.randperm(32)
    maps = {name: QuantizedMap(packed(8).weight, order) for name in "ab"}
    linear = PackedSource(QuantizedModel(SCHEME, {}, maps), torch.float32, CPU).linear("ab")
    weight = torch.cat([dequantized_weight(maps[name].weight) for name in "ab"])
    x = torch.randn(3, 32)
    torch.testing.assert_close(linear(x), x[:, order] @ weight.T, rtol=1e-4, atol=1e-4)
    assert type(linear).__name__ == "ReorderedLinear"


def test_a_shape_the_kernel_cannot_take_is_refused_in_a_line() -> None:
    model = QuantizedModel(SCHEME, {}, {"a": packed(24)})
    source = PackedSource(model, torch.bfloat16, CPU, {"w4a16_linear": "torch-cpu"})
    with pytest.raises(ConfigError, match=r"'torch-cpu' can take \(w4a16_linear"):
        source.linear(["a"])
