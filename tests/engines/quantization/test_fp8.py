from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from llmbench.engines.errors import ModelError
from llmbench.engines.models import bundled
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.fp8 import Fp8Source
from llmbench.engines.quantization.linear import WeightSource
from llmbench.engines.quantization.methods import load_weights, resolve_group_size
from tokenizers import Tokenizer
from torch import Tensor

from .tiny import SHAPES, tiny_model

CPU, FLOAT = torch.device("cpu"), torch.float32
BUNDLED = Path(bundled.__file__).parent


def e4m3_rows(x: Tensor) -> Tensor:
    """What rounding each row to e4m3 leaves of it, its largest becoming 448."""
    scales = x.abs().amax(-1, keepdim=True) / 448
    return (x / scales).to(torch.float8_e4m3fn).float() * scales


def logits(config: ModelConfig, source: WeightSource, token_ids: list[int]) -> Tensor:
    model = Llama(config, source, select_ops(CPU, FLOAT), dtype=FLOAT, device=CPU)
    return dense_logits(model, token_ids)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layers_maps_are_rounded_and_others_are_not(shape: str) -> None:
    config, weights = tiny_model(shape)
    source = Fp8Source(weights, FLOAT, CPU)
    names = [f"model.layers.1.self_attn.{part}_proj" for part in "qkv"]
    x = torch.randn(3, config.hidden_size)
    weight = torch.cat([weights[f"{name}.weight"] for name in names])
    expected = e4m3_rows(x) @ e4m3_rows(weight).T
    if f"{names[0]}.bias" in weights:
        expected += torch.cat([weights[f"{name}.bias"] for name in names])
    linear = source.linear(names)
    torch.testing.assert_close(linear(x), expected)
    assert weight.numel() < linear.weight_bytes < 1.2 * weight.numel()
    head = "model.embed_tokens" if config.tie_word_embeddings else "lm_head"
    torch.testing.assert_close(source.linear([head])(x), x @ weights[f"{head}.weight"].T)
    norm = "model.norm.weight"
    assert torch.equal(source.tensor(norm), weights[norm])


def test_weights_that_are_not_finite_are_refused() -> None:
    _, weights = tiny_model("multi-head")
    weights["model.layers.0.mlp.up_proj.weight"][3, 3] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        Fp8Source(weights, FLOAT, CPU).linear(["model.layers.0.mlp.up_proj"])


def test_where_no_e4m3_product_is_that_is_said() -> None:
    said: list[str] = []
    loaded = load_weights(
        BUNDLED, "fp8", group_size=None, dtype=FLOAT, device=CPU, report=said.append
    )
    assert resolve_group_size(loaded.config, "fp8", None) is None
    assert isinstance(loaded.source, Fp8Source)
    assert said == ["fp8: cpu has no e4m3 product; weights are widened for each use"]


def test_the_bundled_model_keeps_its_quality() -> None:
    """On held-out text: perplexity within half a percent, and a KL below AWQ's limit of 0.02."""
    config, checkpoint = load_model_directory(BUNDLED)
    weights = dict(checkpoint)
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    windows = torch.tensor(tokenizer.encode((BUNDLED / "heldout.txt").read_text()).ids[:4096])

    def scored(source: WeightSource) -> tuple[Tensor, float]:
        parts = [logits(config, source, w.tolist()).log_softmax(-1) for w in windows.split(512)]
        pairs = zip(parts, windows.split(512), strict=True)
        losses = [F.nll_loss(part[:-1], window[1:]) for part, window in pairs]
        return torch.cat(parts), float(torch.stack(losses).mean().exp())

    exact, exact_perplexity = scored(DenseSource(weights, FLOAT, CPU))
    rounded, perplexity = scored(Fp8Source(weights, FLOAT, CPU))
    kl = float(F.kl_div(rounded, exact, log_target=True, reduction="batchmean"))
    print(f"perplexity {exact_perplexity:.4f} -> {perplexity:.4f}, KL {kl:.5f}")
    assert abs(perplexity / exact_perplexity - 1) < 0.005
    assert 0 < kl < 0.01
