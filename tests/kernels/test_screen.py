"""A greedy step's logits by a screen: its argmax is that of all of them, bit by bit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.kernels.decoder import DecoderWeights
from llmbench.kernels.native import screen
from llmbench.kernels.native.build import TARGETS, Target
from llmbench.kernels.native.library import Native
from llmbench.kernels.native.linear import NativeLinear
from llmbench.kernels.reference.argmax import argmax
from llmbench.kernels.registry import Implementation
from llmbench.kernels.w8a8 import quantize_rows
from torch import Tensor

from .decoder_cases import (
    BF16,
    FUSED,
    HIDDEN,
    SHAPES,
    Call,
    assert_same_bits,
    maps,
    of,
    random_call,
    random_weights,
)

ROWS = 1500  # of the vocabulary; not a whole number of panels
native = pytest.mark.parametrize("implementation", FUSED, ids=lambda one: one.name)


@pytest.fixture(autouse=True)
def _screens_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "LEAST_BYTES", 0)


def with_head(
    backend: str, head: Tensor, bias: Tensor | None = None, *, scale: float = 1.0
) -> DecoderWeights:
    """A random decoder. scale: of what meets the head."""
    linear = of("linear", backend)(head.to(BF16), bias, BF16)
    weights = random_weights(SHAPES["plain"], maps("dense", backend), linear)
    return replace(weights, norm=(weights.norm.float() * scale).to(BF16))


def target_of(implementation: Implementation) -> Target:
    return next(one for one in TARGETS if implementation.name == f"native-{one.name}")


def screened(
    implementation: Implementation, weights: DecoderWeights, sequences: int = 3
) -> tuple[Tensor, Tensor]:
    """The same rows of logits, the argmax wanted alone, and all; what is given is the same."""
    call, step = random_call(SHAPES["plain"], "paged", sequences), implementation.function(weights)
    found, places = of_argmax(call, step)
    expected = call.run(step)[0]
    assert step.likeliest is None
    given = found != -math.inf
    assert_same_bits(found[given], expected[given])
    assert torch.equal(argmax(found), argmax(expected))
    assert torch.equal(places, argmax(expected))
    return found, expected


def of_argmax(call: Call, step: Any) -> tuple[Tensor, Tensor]:
    """The logits where the argmax is wanted alone, and where it found each row's."""
    logits, _ = call.run(step, argmax_only=True)
    return logits, step.likeliest


@native
@pytest.mark.parametrize("sequences", [1, 2, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-20, 1e-37, 1e30])
def test_the_argmax_is_that_of_all_logits(
    implementation: Implementation, scale: float, sequences: int
) -> None:
    head = torch.randn(ROWS, HIDDEN) / HIDDEN**0.5
    weights = with_head(implementation.name, head, torch.randn(ROWS).to(BF16), scale=scale)
    screened(implementation, weights, sequences)


@native
def test_few_logits_are_computed(implementation: Implementation) -> None:
    """Of random ones the largest is far from most: a panel has 32."""
    weights = with_head(implementation.name, torch.randn(30 * ROWS, HIDDEN))
    found, _ = screened(implementation, weights, sequences=2)
    assert (found != -math.inf).sum() < 0.2 * found.numel()


@native
@pytest.mark.parametrize("sequences", [3, 9])
def test_of_equal_logits_it_is_the_first(implementation: Implementation, sequences: int) -> None:
    """Threads take the columns in parts, and whoever is later may have the earlier ones."""
    head = torch.randn(ROWS // 3, HIDDEN).repeat(3, 1)
    found, expected = screened(implementation, with_head(implementation.name, head), sequences)
    assert (expected == expected.amax(1, keepdim=True)).sum() >= 3 * len(expected)
    assert (argmax(found) < ROWS // 3).all()


def before_the_head(
    implementation: Implementation, scale: float = 1.0
) -> tuple[Call, DecoderWeights, Tensor]:
    """A call of one row, a decoder, and what its head is given there, float32 [HIDDEN]."""
    call = random_call(SHAPES["plain"], "paged", 1)
    weights = with_head(implementation.name, torch.eye(HIDDEN), scale=scale)
    return call, weights, call.run(implementation.function(weights))[0][0].float()


def check(
    implementation: Implementation, call: Call, weights: DecoderWeights, head: Tensor
) -> Tensor:
    """Both ways the same; all logits [vocab]."""
    linear = of("linear", implementation.name)(head.to(BF16), None, BF16)
    step = implementation.function(replace(weights, lm_head=linear))
    found, places = of_argmax(call, step)
    expected, _ = call.run(step)
    assert torch.equal(argmax(found), argmax(expected))
    assert torch.equal(places, argmax(expected))
    return expected[0]


@native
@pytest.mark.parametrize("exponent", [-100, -75, 0, 90])
def test_codes_that_mislead(implementation: Implementation, exponent: int) -> None:
    """Of two rows the larger has lost by rounding as much as it can, and the other has gained that:
    by codes it is the larger by far. So it is where squares of what was lost are no numbers."""
    call, weights, x = before_the_head(implementation)
    signs, lost, misled = x.sign(), 7 / 16, 0
    for _ in range(20):
        codes = torch.randint(-7, 8, (HIDDEN,)) + 6 * signs
        larger = codes + lost * signs
        smaller = codes + (torch.rand(HIDDEN) < 0.8) * signs - lost * signs
        head = 0.1 * torch.randn(ROWS, HIDDEN)
        place, other = torch.randperm(ROWS)[:2]
        head[place], head[other] = larger, smaller
        head[:, 0] = 127  # of which a step of the codes is one
        check(implementation, call, weights, head * 2.0**exponent)
        misled += int(larger @ x > smaller @ x)
    assert misled


@native
def test_a_sum_that_leaves_the_range_of_float32_on_its_way(implementation: Implementation) -> None:
    """Of codes it does not: they are scaled at the end."""
    call, weights, x = before_the_head(implementation, 2.0**70)
    half = torch.arange(HIDDEN) < HIDDEN // 2
    balance = float(x[half].abs().double().sum() / x[~half].abs().double().sum())
    head = torch.randn(ROWS, HIDDEN) * 2.0**30
    head[5] = x.sign() * 2.0**47
    head[77] = x.sign() * torch.where(half, 2.0**54, -(2.0**54) * 1.01 * balance)
    logits = check(implementation, call, weights, head)
    assert logits[5] > 0
    assert not logits[77].isfinite()


@native
def test_numbers_that_are_taken_for_zero(implementation: Implementation) -> None:
    """Products of bfloat16 know no denormal numbers, not even in sums that are scaled later."""
    call, weights, x = before_the_head(implementation)
    weights.norm[:] = 1.4 * 2.0**-126 * weights.norm / x
    weights.norm[x == 0] = weights.norm[0] = 0
    head = torch.full((ROWS, HIDDEN), -2.0)
    head[7], head[900], head[900, HIDDEN * 6 // 10 :] = 0, -1, 1
    head[:, 0] = 127
    logits = check(implementation, call, weights, head * 2.0**45)
    assert int(logits.argmax()) == 7


@native
def test_rows_that_differ_by_less_than_codes_can_say(implementation: Implementation) -> None:
    """All are within a code of each other, so none is ruled out by them."""
    head = torch.randn(1, HIDDEN) + 0.002 * torch.randn(ROWS, HIDDEN)
    screened(implementation, with_head(implementation.name, head))


@native
def test_rows_of_very_different_sizes(implementation: Implementation) -> None:
    """A code's step is a share of the row's largest weight, which may be one among small ones."""
    head = torch.randn(ROWS, HIDDEN) * 10 ** (4 * torch.rand(ROWS, 1) - 2)
    head[:, 5] *= 100
    screened(implementation, with_head(implementation.name, head))


@native
def test_a_head_of_zeros(implementation: Implementation) -> None:
    found, _ = screened(implementation, with_head(implementation.name, torch.zeros(ROWS, HIDDEN)))
    assert (found == 0).all()


@native
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["a weight", "the inputs"])
@pytest.mark.parametrize("sequences", [3, 9])
def test_what_is_no_number_is_found(
    implementation: Implementation, sequences: int, where: str, value: float
) -> None:
    """As of all logits: no token is the likeliest beside a NaN, wherever it stands."""
    head = torch.randn(ROWS, HIDDEN)
    if where == "a weight":
        head[777, 3] = value
    weights = with_head(implementation.name, head)
    if where == "the inputs":
        weights.norm[7] = value
    screened(implementation, weights, sequences)


@native
def test_more_rows_than_it_pays_for_are_computed_whole(implementation: Implementation) -> None:
    weights = with_head(implementation.name, torch.randn(ROWS, HIDDEN))
    most = screen.most_rows(target_of(implementation), HIDDEN)
    sequences = most + 2  # one of which wants no logits
    found, expected = screened(implementation, weights, sequences)
    assert_same_bits(found, expected)
    step = implementation.function(weights)
    assert step.head_bytes(most + 1, True) == weights.lm_head.weight_bytes
    assert step.head_bytes(1, False) == weights.lm_head.weight_bytes
    # A byte a weight, in whole panels, and of each row a scale, a zero and an error.
    assert step.head_bytes(1, True) == 47 * 32 * (HIDDEN + 4 + 2) + ROWS * 4


@native
@pytest.mark.parametrize("kind", ["int8", "int4", "grouped int8", "fp8"])
def test_a_quantised_head_has_none(implementation: Implementation, kind: str) -> None:
    weights = random_weights(SHAPES["plain"], maps(kind, implementation.name))
    found, expected = screened(implementation, weights)
    assert_same_bits(found, expected)
    assert implementation.function(weights).head_bytes(1, True) == weights.lm_head.weight_bytes


@native
def test_a_small_head_has_none(
    implementation: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in a cache, from which it is read sooner than codes are widened."""
    monkeypatch.setattr(screen, "LEAST_BYTES", ROWS * HIDDEN * 2 + 10_000)
    weights = with_head(implementation.name, torch.randn(ROWS, HIDDEN))
    found, expected = screened(implementation, weights)
    assert_same_bits(found, expected)


@native
@pytest.mark.parametrize(("inputs", "rows"), [(4096, None), (4100, 1), (8192, 1), (8196, 0)])
def test_the_more_inputs_the_fewer_rows(
    implementation: Implementation, inputs: int, rows: int | None
) -> None:
    native = Native(target_of(implementation))
    head = NativeLinear(native)(torch.randn(40, inputs).to(BF16), None, BF16)
    found = screen.screen_of(head, native)
    of_few = 4 if native.target.multiplies_bfloat16 else 2
    assert (0 if found is None else found.most_rows) == (of_few if rows is None else rows)


@native
def test_outputs_are_no_further_off_than_it_says(implementation: Implementation) -> None:
    """Of inputs that point where a row's codes have lost most, which no random ones do."""
    target = target_of(implementation)
    head = (torch.randn(ROWS, HIDDEN) * 10 ** (2 * torch.rand(ROWS, 1))).to(BF16)
    linear = NativeLinear(Native(target))(head, None, BF16)
    made = screen.screen_of(linear, Native(target))
    assert made is not None
    codes, scales = quantize_rows(head)
    lost = head.double() - codes.double() * scales.double()[:, None]
    x = (lost[:32] / lost[:32].norm(dim=1, keepdim=True)).to(BF16)
    exact, norms = x.double() @ head.double().T, x.double().norm(dim=1, keepdim=True)
    bound = made.errors.double() * norms
    rounding = 2**-8 * (1 + 2**-8)
    coded = made.codes(x).double()
    assert ((coded - exact).abs() <= bound + rounding * coded.abs()).all()
    # Most of those are nearly as far off as that, so that it is no larger than it must be.
    assert ((coded - exact).abs() / bound).diagonal().median() > 0.8
