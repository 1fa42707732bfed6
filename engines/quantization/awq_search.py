"""AWQ's two searches, as functions of tensors: a scale for each input feature, a clip a group.

Source: Lin et al., "AWQ: Activation-aware Weight Quantization", 2024, section 3, and its reference
implementation (github.com/mit-han-lab/llm-awq), with the weight term that AutoAWQ added to the
scales. Weights are float32 [out_features, in_features].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .grid import GridFormat, in_groups, round_to_grid

RATIOS = tuple(i / 20 for i in range(20))
SHRINKS = tuple(1 - i / 20 for i in range(10))


@dataclass(frozen=True, eq=False)
class ScaleChoice:
    """The scales that lose least. ratio None: no scaling was best.

    scales [in_features]: multiply the weight's columns by them and divide its input.
    loss: mean squared error at the block's output, with them.
    """

    scales: Tensor
    ratio: float | None
    loss: float


def search_scales(
    weight: Tensor,
    input_magnitude: Tensor,
    format: GridFormat,
    block_loss: Callable[[Tensor], float],
) -> ScaleChoice:
    """Try every ratio of RATIOS, and no scaling.

    weight: of all maps that read the input, stacked. input_magnitude [in_features]: mean |x|.
    block_loss: mean squared error at the block's output when it computes with the given weight.
    "No scaling" is ours to add: with the weight term, ratio 0 still scales, and the result could
    lose to plain rounding.
    """
    unscaled = torch.ones_like(input_magnitude)
    best = ScaleChoice(unscaled, None, block_loss(round_to_grid(weight, format)))
    weight_magnitude = mean_magnitude(weight, format.group_size)
    for ratio in RATIOS:
        scales = candidate_scales(input_magnitude, weight_magnitude, ratio)
        loss = block_loss(round_to_grid(weight * scales, format).div_(scales))
        if loss < best.loss:
            best = ScaleChoice(scales, ratio, loss)
    return best


def candidate_scales(input_magnitude: Tensor, weight_magnitude: Tensor, ratio: float) -> Tensor:
    """s = x^ratio / (w^(1 - ratio) + 1e-4), divided by sqrt(max s · min s); all [in_features]."""
    scales = input_magnitude.pow(ratio) / (weight_magnitude.pow(1 - ratio) + 1e-4)
    # A feature that is always zero says nothing; it must not pull the others' scales apart.
    scales = scales.clamp(min=1e-4)
    return scales / (scales.max() * scales.min()).sqrt()


def mean_magnitude(weight: Tensor, group_size: int | None) -> Tensor:
    """Mean over outputs of |w| / (its group's max |w|): [in_features]."""
    groups = in_groups(weight.abs(), group_size)
    shares = (groups / (groups.amax(dim=-1, keepdim=True) + 1e-6)).flatten(1)
    return shares[:, : weight.shape[1]].mean(dim=0)


def search_clip(weight: Tensor, group_gram: Tensor, format: GridFormat) -> Tensor:
    """The weight, each group clamped to the share of its largest magnitude that loses least.

    group_gram [groups, group_size, group_size]: see `gram_of_groups`. A group's loss is the mean
    squared error of its own contribution to the output, mean over tokens of (x · d)² =
    d · E[x xᵀ] · d for d the change of its weights: the reference implementation's, over all
    tokens where that samples 512.
    """
    in_features = weight.shape[1]
    groups = in_groups(weight, format.group_size)
    largest = groups.abs().amax(dim=-1, keepdim=True)
    best_loss = torch.full_like(largest[..., 0], torch.inf)
    best_limit = largest.clone()
    for shrink in SHRINKS:
        limit = shrink * largest
        clipped = groups.clamp(-limit, limit).flatten(1)[:, :in_features]
        change = in_groups(round_to_grid(clipped, format) - weight, format.group_size)
        change = change.transpose(0, 1)
        loss = (torch.bmm(change, group_gram) * change).sum(dim=-1).T
        better = loss < best_loss
        best_loss = torch.where(better, loss, best_loss)
        best_limit = torch.where(better[..., None], limit, best_limit)
    return groups.clamp(-best_limit, best_limit).flatten(1)[:, :in_features]


def gram(x: Tensor) -> Tensor:
    """E[x xᵀ] over tokens: x [tokens, features] -> [features, features]."""
    return x.T @ x / len(x)


def gram_of_groups(x: Tensor, group_size: int | None) -> Tensor:
    """E[x xᵀ] within each group: [groups, group_size, group_size]."""
    groups = in_groups(x, group_size).transpose(0, 1)
    return torch.bmm(groups.transpose(1, 2), groups) / len(x)


def linear_loss(weight: Tensor, input_gram: Tensor) -> Callable[[Tensor], float]:
    """The mean squared error of x · Wᵀ as a function of the changed weight; see `gram`."""

    def loss(changed: Tensor) -> float:
        change = changed - weight
        return float((change @ input_gram * change).sum() / len(weight))

    return loss
