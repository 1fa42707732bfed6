from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.grid import (
    GridFormat,
    choose_group_size,
    fit_grid,
    in_groups,
    in_pieces,
    round_to_grid,
    rtn_pack,
)
from llmbench.kernels.grouped_int8 import dequantize_grouped
from llmbench.kernels.int4 import PackedInt4, dequantize_int4, unpack_int4


def test_a_group_by_hand() -> None:
    """Range -0.5 … 1.375 in 15 steps of 0.125: the zero point is 4, 0.3 lies nearest 2 steps."""
    weight = torch.tensor([[-0.5, 1.375, 0.3, -0.19]])
    packed = rtn_pack(weight, GridFormat(4, 4))
    assert isinstance(packed, PackedInt4)
    assert packed.scales.tolist() == [[0.125]]
    assert packed.zeros.tolist() == [[4]]
    assert unpack_int4(packed).tolist() == [[0, 15, 6, 2]]
    assert dequantize_int4(packed).tolist() == [[-0.5, 1.375, 0.25, -0.25]]


def test_a_group_of_one_sign_keeps_its_values() -> None:
    """9 … 10 is far from 0; a zero point in 4 bits reaches it only if the range includes 0."""
    weight = torch.tensor([[9.0, 10.0, 9.5, 9.9]])
    assert (round_to_grid(weight, GridFormat(4, 4)) - weight).abs().max() <= 10 / 15 / 2 + 0.01


def test_a_group_of_zeros_stays_zero() -> None:
    assert round_to_grid(torch.zeros(2, 8), GridFormat(4, 4)).tolist() == torch.zeros(2, 8).tolist()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), group_size=st.sampled_from([2, 16, 64]), spread=st.floats(0, 3))
def test_every_weight_moves_at_most_half_a_step(seed: int, group_size: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2 * group_size, generator=generator) * 10**-spread + spread / 100
    form = GridFormat(4, group_size)
    grid = fit_grid(in_groups(weight, group_size), form)
    scales, zeros = grid.scales, grid.zeros
    assert torch.equal(scales, scales.half().float())
    assert torch.equal(zeros, zeros.round().clamp(0, 15))
    moved = (round_to_grid(weight, form) - weight).abs().unflatten(1, (-1, group_size))
    # A little more than half: a scale rounded to float16 reaches 15 · 2^-11 of a step less far.
    assert bool((moved <= 0.51 * scales[..., None]).all())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group_size", [64, 128, None])
@pytest.mark.parametrize("bits", [4, 8])
def test_packing_stores_exactly_the_rounded_weight(
    bits: int, group_size: int | None, symmetric: bool
) -> None:
    """Also where a row of 192 ends in half a group."""
    weight, form = torch.randn(5, 192), GridFormat(bits, group_size, symmetric)
    packed = rtn_pack(weight, form)
    stored = (
        dequantize_int4(packed) if isinstance(packed, PackedInt4) else dequantize_grouped(packed)
    )
    assert torch.equal(stored, round_to_grid(weight, form))


def test_a_symmetric_group_by_hand() -> None:
    """The largest is 1.875 = 7.5 steps of 0.25 around code 8: 1.875 lies between 7 and 8 steps, of
    which 4 bits hold 7 above and 8 below."""
    packed = rtn_pack(torch.tensor([[1.875, -1.875, 0.3, -0.4]]), GridFormat(4, 4, True))
    assert isinstance(packed, PackedInt4)
    assert packed.scales.tolist() == [[0.25]]
    assert packed.zeros.tolist() == [[8]]
    assert unpack_int4(packed).tolist() == [[15, 0, 9, 6]]


def test_a_short_last_group_is_written_as_several() -> None:
    """192 inputs in groups of 128: a group of 128 and one of 64, stored in pieces of 64."""
    weight = torch.cat([torch.full((1, 128), 1.5), torch.full((1, 64), -3.0)], dim=1)
    packed = rtn_pack(weight, GridFormat(4, 128))
    assert packed.group_size == 64
    assert packed.scales.tolist() == [[0.0999755859375, 0.0999755859375, 0.199951171875]]
    assert packed.zeros.tolist() == [[0, 0, 15]]


@pytest.mark.parametrize(
    ("in_features", "group_size"), [((4096, 11008), 128), ((576, 1536), 64), ((96, 128), 32)]
)
def test_the_largest_group_that_fits(in_features: tuple[int, ...], group_size: int) -> None:
    assert choose_group_size(in_features) == group_size


def test_no_group_fits() -> None:
    with pytest.raises(ConfigError, match=r"group_size: \[100, 128\] .* divisible by 32$"):
        choose_group_size([128, 100])


@pytest.mark.parametrize(
    ("in_features", "group_size"), [((200, 1536), 128), ((136, 72), 64), ((48, 40), 32)]
)
def test_where_no_group_divides_one_that_leaves_a_shorter_is_named(
    in_features: tuple[int, ...], group_size: int
) -> None:
    said = f"divisible by 32; --group-size {group_size} leaves a shorter last group$"
    with pytest.raises(ConfigError, match=said):
        choose_group_size(in_features)
    assert all(in_pieces(group_size, width) for width in in_features)


@pytest.mark.parametrize("bits", [4, 8])
def test_small_weights_are_rounded_as_finely_as_large_ones(bits: int) -> None:
    """Their scales are float16's subnormal numbers, down to 2^-24."""
    weight, form = torch.randn(64, 256), GridFormat(bits, 128, True)
    large, small = (
        float((round_to_grid(scaled, form) - scaled).norm() / scaled.norm())
        for scaled in (weight, weight * 2.0**-11)
    )
    assert small < 1.05 * large
