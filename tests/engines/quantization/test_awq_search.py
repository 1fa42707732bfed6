from __future__ import annotations

import math

import pytest
import torch
from llmbench.engines.quantization.awq_search import (
    candidate_scales,
    gram,
    gram_of_groups,
    linear_loss,
    mean_magnitude,
    search_clip,
    search_scales,
)
from llmbench.engines.quantization.grid import GridFormat, round_to_grid


def test_candidate_scales_by_hand() -> None:
    """x = (1, 4), w = (1, 1), ratio 1/2: (1, 2) / 1.0001, centred so that max · min = 1."""
    scales = candidate_scales(torch.tensor([1.0, 4.0]), torch.ones(2), 0.5)
    assert scales.tolist() == pytest.approx([1 / math.sqrt(2), math.sqrt(2)], rel=1e-5)


def test_a_feature_that_is_never_active_keeps_the_scales_finite() -> None:
    scales = candidate_scales(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), 0.5)
    assert bool(torch.isfinite(scales).all())
    assert bool((scales > 0).all())


def test_mean_magnitude_by_hand() -> None:
    """Groups of 2: |w| over the group's largest, then the mean of the two outputs."""
    weight = torch.tensor([[1.0, -2.0, 3.0, 3.0], [4.0, 0.0, 1.0, -4.0]])
    assert mean_magnitude(weight, 2).tolist() == pytest.approx([0.75, 0.5, 0.625, 1.0], rel=1e-5)


def test_linear_loss_is_the_outputs_mean_squared_error() -> None:
    x, weight, changed = torch.randn(50, 8), torch.randn(3, 8), torch.randn(3, 8)
    expected = torch.nn.functional.mse_loss(x @ changed.T, x @ weight.T)
    assert linear_loss(weight, gram(x))(changed) == pytest.approx(float(expected), rel=1e-4)


def test_scales_protect_the_channels_that_matter() -> None:
    """Eight of 64 channels carry 30 times the others' activations."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, 64, generator=generator)
    x[:, ::8] *= 30
    weight = torch.randn(16, 64, generator=generator)
    loss = linear_loss(weight, gram(x))
    choice = search_scales(weight, x.abs().mean(dim=0), GridFormat(4, 32), loss)
    assert choice.ratio is not None
    # AWQ's own claim for salient channels; plain rounding loses at least twice as much here.
    assert choice.loss < 0.5 * loss(round_to_grid(weight, GridFormat(4, 32)))
    assert choice.scales[::8].mean() > 2 * choice.scales[1::8].mean()


def test_no_scaling_is_kept_when_nothing_is_better() -> None:
    """Weights that lie on the grid lose nothing when rounded as they are."""
    weight = torch.randint(-8, 8, (4, 32)).float()
    weight[:, 0], weight[:, 1] = -8.0, 7.0
    loss = linear_loss(weight, torch.eye(32))
    choice = search_scales(weight, 1 + torch.rand(32), GridFormat(4, 32), loss)
    assert choice.ratio is None
    assert choice.loss == 0
    assert choice.scales.tolist() == [1.0] * 32


def test_clip_minimises_each_groups_own_error() -> None:
    """Against the definition, group by group and token by token."""
    x, weight, group_size = torch.randn(40, 32), torch.randn(6, 32) ** 3, 16
    form = GridFormat(4, group_size)
    clipped = search_clip(weight, gram_of_groups(x, group_size), form)
    for row in range(6):
        for start in (0, 16):
            group = slice(start, start + group_size)
            w, tokens = weight[row, group], x[:, group]
            # Limits in float32: another rounding of one can move its float16 scale.
            limits = [(1 - i / 20) * w.abs().max() for i in range(10)]
            candidates = [w.clamp(-limit, limit) for limit in limits]
            errors = [
                float(((tokens @ (round_to_grid(c[None], form)[0] - w)) ** 2).mean())
                for c in candidates
            ]
            mine = round_to_grid(clipped[row, group][None], form)[0]
            error = float(((tokens @ (mine - w)) ** 2).mean())
            assert error == pytest.approx(min(errors), rel=1e-3)


def test_a_weight_that_no_input_meets_gives_way_to_the_others() -> None:
    """The others are whole sixteenths, which only the grid up to 0.6 of the largest holds: clipped
    there, the group loses nothing, and not clipped it loses some of the one sixteenth."""
    x, weight = torch.randn(40, 16), torch.randint(0, 16, (1, 16)) / 16
    x[:, 0] = 0
    weight[0, :2] = torch.tensor([15 / 16 / 0.6, 1 / 16])
    clipped = search_clip(weight, gram_of_groups(x, 16), GridFormat(4, 16))
    assert float(clipped[0, 0]) == pytest.approx(15 / 16, rel=1e-6)
    assert torch.equal(clipped[0, 1:], weight[0, 1:])
