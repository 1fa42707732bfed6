from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.grid import choose_group_size, grid, round_to_grid, rtn_pack
from llmbench.kernels.packing import dequantize, unpack


def test_a_group_by_hand() -> None:
    """Range -0.5 … 1.375 in 15 steps of 0.125: the zero point is 4, 0.3 lies nearest 2 steps."""
    weight = torch.tensor([[-0.5, 1.375, 0.3, -0.19]])
    packed = rtn_pack(weight, 4)
    assert packed.scales.tolist() == [[0.125]]
    assert packed.zeros.tolist() == [[4]]
    assert unpack(packed).tolist() == [[0, 15, 6, 2]]
    assert dequantize(packed).tolist() == [[-0.5, 1.375, 0.25, -0.25]]


def test_a_group_of_one_sign_keeps_its_values() -> None:
    """9 … 10 is far from 0; a zero point in 4 bits reaches it only if the range includes 0."""
    weight = torch.tensor([[9.0, 10.0, 9.5, 9.9]])
    assert (round_to_grid(weight, 4) - weight).abs().max() <= 10 / 15 / 2 + 0.01


def test_a_group_of_zeros_stays_zero() -> None:
    assert round_to_grid(torch.zeros(2, 8), 4).tolist() == torch.zeros(2, 8).tolist()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), group_size=st.sampled_from([2, 16, 64]), spread=st.floats(0, 3))
def test_every_weight_moves_at_most_half_a_step(seed: int, group_size: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2 * group_size, generator=generator) * 10**-spread + spread / 100
    scales, zeros = grid(weight, group_size)
    assert torch.equal(scales, scales.half().float())
    assert torch.equal(zeros, zeros.round().clamp(0, 15))
    moved = (round_to_grid(weight, group_size) - weight).abs().unflatten(1, (-1, group_size))
    # A little more than half: a scale rounded to float16 reaches 15 · 2^-11 of a step less far.
    assert bool((moved <= 0.51 * scales[..., None]).all())


def test_packing_stores_exactly_the_rounded_weight() -> None:
    weight = torch.randn(5, 192)
    assert torch.equal(dequantize(rtn_pack(weight, 64)), round_to_grid(weight, 64))


@pytest.mark.parametrize(
    ("in_features", "group_size"), [((4096, 11008), 128), ((576, 1536), 64), ((96, 128), 32)]
)
def test_the_largest_group_that_fits(in_features: tuple[int, ...], group_size: int) -> None:
    assert choose_group_size(in_features) == group_size


def test_no_group_fits() -> None:
    with pytest.raises(ConfigError, match=r"group_size: \[100, 128\]"):
        choose_group_size([128, 100])
