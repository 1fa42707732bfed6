"""The rotary table: cosine and sine of every position, computed once.

Sources: Su et al., "RoFormer", 2021; linear scaling, Chen et al., "Position Interpolation", 2023;
Llama 3.1's scaling, Meta's reference code for that release. Frequencies and angles are float32,
as Hugging Face computes them, and rounded to the model's dtype at the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import LinearRopeScaling, Llama3RopeScaling, ModelConfig


class RotaryTable:
    """cos and sin [max_positions, head_dim / 2] in the model's dtype, on its device."""

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype,
        device: torch.device,
        max_positions: int | None = None,
    ) -> None:
        length = max_positions or config.max_position_embeddings
        angles = torch.arange(length, dtype=torch.float32)[:, None] * inverse_frequencies(config)
        self.cos = angles.cos().to(device=device, dtype=dtype)
        self.sin = angles.sin().to(device=device, dtype=dtype)

    def rows(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [T, head_dim / 2] of positions int64 [T]."""
        return self.cos.index_select(0, positions), self.sin.index_select(0, positions)


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Radians a position, float32 [head_dim / 2], the fastest first."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / (config.rope_theta**exponents)
    match config.rope_scaling:
        case None:
            return frequencies
        case LinearRopeScaling(factor):
            return frequencies / factor
        case Llama3RopeScaling() as scaling:
            return _llama3(frequencies, scaling)


def _llama3(frequencies: Tensor, scaling: Llama3RopeScaling) -> Tensor:
    wavelengths = 2 * math.pi / frequencies
    turns = scaling.original_max_position_embeddings / wavelengths
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    # 0: fewer than `low` turns over the trained length, fully scaled; 1: more than `high`, kept.
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies
