"""The order of methods on real text: the bundled model, which was trained in full precision.

KL to the unquantised model in nats a token; perplexity only where a loss is claimed to be small,
for on this model its noise is larger than the differences between methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.linear import WeightSource
from llmbench.engines.quantization.quantize import quantize_model
from llmbench.engines.quantization.quantized import PackedSource
from llmbench.engines.quantization.scheme import Scheme, default_scheme
from torch import Tensor

from .test_layerwise import with_outliers

BUNDLED = Path(bundled.__file__).parent
CPU, FLOAT = torch.device("cpu"), torch.float32
WINDOW_TOKENS = 512
HELD_OUT_TOKENS = 3072


@dataclass(frozen=True, eq=False)
class Judge:
    """The unquantised model and what it says of the held-out text; text to calibrate on."""

    config: ModelConfig
    weights: dict[str, Tensor]
    held_out: Tensor
    calibration: Tensor
    log_p: Tensor

    def quantized(
        self,
        scheme: Scheme,
        weights: Mapping[str, Tensor] | None = None,
        activations: str = "auto",
    ) -> tuple[float, float]:
        """KL, and perplexity over the unquantised model's."""
        model = quantize_model(self.config, weights or self.weights, scheme, self.calibration)
        source = PackedSource(model, FLOAT, CPU, activations=activations)
        ours = log_probabilities(self.config, source, self.held_out)
        kl = float((self.log_p.exp() * (self.log_p - ours)).sum(-1).mean())
        return kl, self.perplexity(ours) / self.perplexity(self.log_p)

    def perplexity(self, log_p: Tensor) -> float:
        windows = zip(log_p.split(WINDOW_TOKENS), self.held_out.split(WINDOW_TOKENS), strict=True)
        losses = [F.nll_loss(part[:-1], window[1:]) for part, window in windows]
        return math.exp(float(torch.stack(losses).mean()))


def log_probabilities(config: ModelConfig, source: WeightSource, token_ids: Tensor) -> Tensor:
    model = Llama(config, source, select_ops(CPU, FLOAT), dtype=FLOAT, device=CPU)
    parts = [dense_logits(model, window.tolist()) for window in token_ids.split(WINDOW_TOKENS)]
    return torch.cat(parts).double().log_softmax(-1)


@pytest.fixture(scope="module")
def judge() -> Judge:
    config, checkpoint = load_model_directory(BUNDLED)
    weights = {name: tensor.float() for name, tensor in checkpoint.items()}
    tokenizer = load_tokenizer(BUNDLED)
    held_out, calibration = (
        torch.tensor(tokenizer.encode((BUNDLED / f"{name}.txt").read_text())[:count])
        for name, count in (("heldout", HELD_OUT_TOKENS), ("calibration", 8192))
    )
    log_p = log_probabilities(config, DenseSource(weights, FLOAT, CPU), held_out)
    return Judge(config, weights, held_out, calibration.view(-1, 512), log_p)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_is_nearer_than_rounding(symmetric: bool, judge: Judge) -> None:
    """By half, where the published models of 7 B gain about as much."""
    rtn, _ = judge.quantized(Scheme("rtn", 4, 64, symmetric))
    gptq, _ = judge.quantized(Scheme("gptq", 4, 64, symmetric, act_order=True))
    print(f"symmetric {symmetric}: rtn {rtn:.5f}, gptq {gptq:.5f}")
    assert 0 < gptq < 0.7 * rtn


def test_activations_of_8_bits_lose_little_beside_weights_of_4(judge: Judge) -> None:
    scheme = Scheme("rtn", 4, 64, symmetric=False)
    weights_alone, _ = judge.quantized(scheme)
    both, _ = judge.quantized(scheme, activations="int8")
    print(f"rtn {weights_alone:.5f}, rtn+a8 {both:.5f}")
    assert weights_alone < both < 1.15 * weights_alone


def test_static_fp8_is_near_lossless(judge: Judge) -> None:
    kl, perplexity = judge.quantized(default_scheme(judge.config, "fp8-static"))
    assert abs(perplexity - 1) < 0.01
    assert 0 < kl < 0.01


def test_smoothquant_is_nearer_than_plain_w8a8_where_there_are_outliers(judge: Judge) -> None:
    """The bundled model's activations have none to speak of, so it gets some: eight channels of
    every norm times 30, what reads them divided by 30, which leaves the function as it was."""
    weights = {name: tensor.clone() for name, tensor in judge.weights.items()}
    with_outliers(judge.config, weights, channels=8, factor=30.0)
    source = DenseSource(weights, FLOAT, CPU)
    same = log_probabilities(judge.config, source, judge.held_out)
    torch.testing.assert_close(same, judge.log_p, rtol=1e-3, atol=1e-3)
    plain, _ = judge.quantized(default_scheme(judge.config, "w8a8"), weights)
    smooth, _ = judge.quantized(default_scheme(judge.config, "smoothquant"), weights)
    print(f"w8a8 {plain:.5f}, smoothquant {smooth:.5f}")
    assert 0 < smooth < 0.5 * plain
