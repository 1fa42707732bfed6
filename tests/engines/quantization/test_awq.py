from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from llmbench.engines.models import bundled
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.awq import clip_groups
from llmbench.engines.quantization.awq_search import gram_of_groups, search_clip
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.folding import fold_scales
from llmbench.engines.quantization.grid import GridFormat
from llmbench.engines.quantization.layer import LINEARS, Features
from llmbench.engines.quantization.linear import WeightSource
from llmbench.engines.quantization.quantize import quantize_model
from llmbench.engines.quantization.quantized import PackedSource, QuantizedModel
from llmbench.engines.quantization.rounding import rounded_model
from llmbench.engines.quantization.scheme import default_scheme
from llmbench.kernels.int4 import PackedInt4
from tokenizers import Tokenizer
from torch import Tensor

from .dequantized import dequantized_weight
from .tiny import SHAPES, tiny_model, tokens

CPU, FLOAT = torch.device("cpu"), torch.float32
IN_32 = GridFormat(4, 32)


def quantize(
    config: ModelConfig, weights: dict[str, Tensor], token_ids: Tensor, group_size: int
) -> QuantizedModel:
    return quantize_model(config, weights, default_scheme(config, "awq", group_size), token_ids)


def logits(config: ModelConfig, source: WeightSource, token_ids: list[int]) -> Tensor:
    model = Llama(config, source, select_ops(CPU, FLOAT), dtype=FLOAT, device=CPU)
    return dense_logits(model, token_ids)


@pytest.mark.parametrize("shape", SHAPES)
def test_folding_scales_leaves_the_model_as_it_is(shape: str) -> None:
    config, weights = tiny_model(shape)
    sizes = {"self_attn.q_proj": 64, "mlp.gate_proj": 64, "mlp.down_proj": 96}
    if config.num_heads == config.num_kv_heads:
        sizes["self_attn.o_proj"] = config.q_size
    scales = {name: torch.randn(size).mul(0.5).exp() for name, size in sizes.items()}
    prefix = "model.layers.1."
    layer = {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
    folded = {prefix + name: tensor for name, tensor in fold_scales(layer, scales).items()}
    changed = [name for name in folded if not torch.equal(folded[name], weights[name])]
    assert len(changed) >= 2 + len(LINEARS) - 1
    ids = tokens()[0].tolist()
    before = logits(config, DenseSource(weights, FLOAT, CPU), ids)
    after = logits(config, DenseSource({**weights, **folded}, FLOAT, CPU), ids)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_layer_is_quantised(shape: str) -> None:
    config, weights = tiny_model(shape)
    result = quantize(config, weights, tokens(), group_size=32)
    packed = {f"model.layers.{layer}.{name}" for layer in (0, 1) for name in LINEARS}
    assert result.maps.keys() == packed
    assert result.dense.keys() == weights.keys() - {f"{name}.weight" for name in packed}
    assert [layer.layer for layer in result.report] == [0, 1]
    # Values feed o through grouped heads in most shapes; only where they do not is o scaled.
    scaled_o = "self_attn.o_proj" in result.report[0].ratios
    assert scaled_o == (config.num_kv_heads == config.num_heads)
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(result.dense[name], weights[name])
    assert {tensor.dtype for tensor in result.dense.values()} == {torch.float32}

    # The 4-bit model is the original, a little off, and not by accident of the packing.
    ids = tokens(seed=2)[0].tolist()
    exact = logits(config, DenseSource(weights, FLOAT, CPU), ids)
    unpacked = {
        f"{name}.weight": dequantized_weight(map_.weight) for name, map_ in result.maps.items()
    }
    dequantized = logits(config, DenseSource({**result.dense, **unpacked}, FLOAT, CPU), ids)
    by_kernel = logits(config, PackedSource(result, FLOAT, CPU, {"w4a16_linear": "reference"}), ids)
    torch.testing.assert_close(by_kernel, dequantized, rtol=1e-4, atol=1e-4)
    assert 0 < float((by_kernel - exact).norm() / exact.norm()) < 0.3


def test_groups_are_clipped_for_the_scaled_input() -> None:
    """Queries and keys never; the others as if their input had been divided by its scales."""
    sizes = {"q": 64, "k": 64, "v": 64, "o": 64, "gate": 64, "up": 64, "down": 96}
    names = [name.split(".")[1].removesuffix("_proj") for name in LINEARS]
    tensors = {
        f"{name}.weight": torch.randn(96 if size == 64 else 64, size) ** 3
        for name, size in zip(LINEARS, (sizes[name] for name in names), strict=True)
    }
    inputs = {name: 10 * torch.rand(2, 20, size) for name, size in sizes.items()}
    features = Features(inputs["q"], inputs["o"], inputs["gate"], inputs["down"])
    scales = {
        "mlp.gate_proj": torch.rand(64) ** 3 + 0.01,
        "mlp.down_proj": torch.rand(96) ** 3 + 0.01,
    }
    clipped = clip_groups(tensors, features, scales, IN_32)
    for name in LINEARS[:2]:
        assert torch.equal(clipped[f"{name}.weight"], tensors[f"{name}.weight"])
    for name, x in {
        "self_attn.v_proj": features.attention,
        "self_attn.o_proj": features.context,
        "mlp.up_proj": features.mlp / scales["mlp.gate_proj"],
        "mlp.down_proj": features.activation / scales["mlp.down_proj"],
    }.items():
        expected = search_clip(
            tensors[f"{name}.weight"], gram_of_groups(x.flatten(0, 1), 32), IN_32
        )
        assert torch.equal(clipped[f"{name}.weight"], expected)
        assert not torch.equal(expected, tensors[f"{name}.weight"])


def test_a_layer_loses_less_than_by_rounding() -> None:
    config, weights = tiny_model("multi-head", seed=4)
    result = quantize(config, weights, tokens(8, 32), group_size=32)
    for layer in result.report:
        assert 0 < layer.loss < layer.rtn_loss


def test_the_same_input_gives_the_same_codes() -> None:
    config, weights = tiny_model("grouped heads, tied")
    first, second = (quantize(config, weights, tokens(), group_size=32) for _ in range(2))
    assert first.report == second.report
    for name, map_ in first.maps.items():
        for part in ("nibbles", "scales", "zeros"):
            assert torch.equal(getattr(map_.weight, part), getattr(second.maps[name].weight, part))


def test_a_last_group_may_be_shorter() -> None:
    """Groups of 64 in 96 inputs: 64 and 32, which the packed form holds as three of 32."""
    config, weights = tiny_model("multi-head", seed=4)
    result = quantize(config, weights, tokens(8, 32), group_size=64)
    for layer in result.report:
        assert 0 < layer.loss < layer.rtn_loss
    down = result.maps["model.layers.0.mlp.down_proj"].weight
    assert isinstance(down, PackedInt4)
    assert down.group_size == 32
    assert torch.equal(down.scales[:, 0], down.scales[:, 1])


def test_the_bundled_model_keeps_its_quality() -> None:
    """KL to the unquantised model on held-out text: AWQ below plain rounding, both small.

    Perplexity is no judge here: on this model its noise is larger than either's loss.
    """
    directory = Path(bundled.__file__).parent
    config, checkpoint = load_model_directory(directory)
    weights = dict(checkpoint)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    calibration = tokenizer.encode((directory / "calibration.txt").read_text()).ids[:1024]
    windows = torch.tensor(tokenizer.encode((directory / "heldout.txt").read_text()).ids[:4096])
    awq = quantize(config, weights, torch.tensor(calibration).view(4, 256), group_size=64)
    rtn = rounded_model(config, weights, "rtn", 64, CPU)

    def log_probabilities(source: WeightSource) -> Tensor:
        parts = [logits(config, source, window.tolist()) for window in windows.split(512)]
        return torch.cat(parts).log_softmax(dim=-1)

    exact = log_probabilities(DenseSource(weights, FLOAT, CPU))
    kl = {
        name: float(
            F.kl_div(
                log_probabilities(PackedSource(quantized, FLOAT, CPU)),
                exact,
                log_target=True,
                reduction="batchmean",
            )
        )
        for name, quantized in (("awq", awq), ("rtn", rtn))
    }
    assert 0 < kl["awq"] < kl["rtn"] < 0.02
