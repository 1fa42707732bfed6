from __future__ import annotations

from pathlib import Path

import pytest
import torch
from llmbench.engines.config import QUANT_METHODS
from llmbench.engines.models import bundled
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.int8 import Int8Source
from llmbench.engines.quantization.linear import WeightSource
from llmbench.engines.quantization.methods import LINEAR_OPS, load_weights, resolve_group_size
from llmbench.kernels.registry import OPS
from tokenizers import Tokenizer
from torch import Tensor

from .tiny import tiny_model

CPU = torch.device("cpu")


def test_every_method_names_its_operations() -> None:
    assert set(LINEAR_OPS) == set(QUANT_METHODS)
    assert {op for ops in LINEAR_OPS.values() for op in ops} <= set(OPS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_each_row_is_rounded_by_its_own_largest_weight(dtype: torch.dtype) -> None:
    """Powers of two times integers within ±127, one of which is 127: the grid holds them, and the
    tokens too, so that products are exact whatever is stacked with what."""
    weights = {}
    for part, rows in (("gate", 3), ("up", 5)):
        codes = torch.randint(-127, 128, (rows, 32)).float()
        codes[:, 7] = 127
        weights[f"{part}.weight"] = codes * 2.0 ** torch.randint(-9, 3, (rows, 1))
    x = torch.randint(-127, 128, (4, 32)).float()
    x[:, 0] = -127
    linear = Int8Source(weights, dtype, CPU).linear(["gate", "up"])
    expected = x @ torch.cat([weights["gate.weight"], weights["up.weight"]]).T
    torch.testing.assert_close(linear(x.to(dtype)), expected.to(dtype), rtol=2**-7, atol=0)


def test_biases_are_added_and_the_embedding_is_left_alone() -> None:
    _, weights = tiny_model("qwen2")
    source = Int8Source(weights, torch.float32, CPU)
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkv"]
    x = torch.randn(5, 64)
    apart = [x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"] for name in names]
    expected = torch.cat(apart, dim=1)
    assert float((source.linear(names)(x) - expected).norm() / expected.norm()) < 0.02
    assert source.linear(names).weight_bytes == (64 + 4 + 4) * (64 + 32 + 32)
    name = "model.embed_tokens.weight"
    assert torch.equal(source.tensor(name), weights[name])


def test_it_has_no_groups() -> None:
    config, _ = tiny_model("qwen2")
    assert resolve_group_size(config, "int8", None) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_bundled_model_keeps_its_quality(dtype: torch.dtype) -> None:
    """On held-out text, against float32: the KL that 8 bits cost is far below a nat's hundredth,
    the output projection in 8 bits too, and the same token is the likeliest nearly always."""
    directory = Path(bundled.__file__).parent
    config, checkpoint = load_model_directory(directory)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    windows = torch.tensor(tokenizer.encode((directory / "heldout.txt").read_text()).ids[:2048])

    def log_probabilities(source: WeightSource, dtype: torch.dtype) -> Tensor:
        model = Llama(config, source, select_ops(CPU, dtype), dtype=dtype, device=CPU)
        parts = [dense_logits(model, window.tolist()) for window in windows.split(512)]
        return torch.cat(parts).double().log_softmax(dim=-1)

    exact = log_probabilities(DenseSource(dict(checkpoint), torch.float32, CPU), torch.float32)
    source = load_weights(directory, "int8", group_size=None, dtype=dtype, device=CPU).source
    ours = log_probabilities(source, dtype)
    kl = float((exact.exp() * (exact - ours)).sum(-1).mean())
    assert 0 < kl < 0.002
    assert float((exact.argmax(-1) == ours.argmax(-1)).double().mean()) > 0.96
