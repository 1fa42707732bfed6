"""What a method loses on real text: the bundled model, which was trained in full precision, held
against itself unquantised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
from llmbench.engines.quantization.scheme import Scheme
from torch import Tensor

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


def make_judge() -> Judge:
    config, checkpoint = load_model_directory(BUNDLED)
    weights = {name: tensor.float() for name, tensor in checkpoint.items()}
    tokenizer = load_tokenizer(BUNDLED)
    held_out, calibration = (
        torch.tensor(tokenizer.encode((BUNDLED / f"{name}.txt").read_text())[:count])
        for name, count in (("heldout", HELD_OUT_TOKENS), ("calibration", 8192))
    )
    log_p = log_probabilities(config, DenseSource(weights, FLOAT, CPU), held_out)
    return Judge(config, weights, held_out, calibration.view(-1, 512), log_p)
