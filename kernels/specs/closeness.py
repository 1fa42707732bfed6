"""How near two results must be. NaN is near nothing: only poison that stayed poison is equal.

The limits are of the dtype that is computed in. A float32 result differs by the order of a sum; a
narrower one is rounded once at the end, to half a step, 2^-11 (float16) or 2^-8 (bfloat16), and
implementations may round between their steps as well, as PyTorch's operators do. Norms grow slower
than single elements, so the norm of the difference is held to one limit, and its largest element to
four times as much of the largest element.

Where a result is no sum (gates, norms), its small elements are as exact as the large ones, and each
is held to its own size. Roundings have no direction there: over many rows they cancel, and what is
left, all 16-bit results too small or too large, is held to a tenth of the limit. A sum's may have
one: weights that were widened and rounded are off the same way in every row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RELATIVE_ERROR = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}
LARGEST_ELEMENT = 4
# The share of a limit that a bias may be, of so many elements in so many rows: fewer may all be
# rounded the same way, and those of a row by one factor of it.
BIAS, BIAS_ELEMENTS, BIAS_ROWS = 0.1, 1000, 32
# What each element may be off whatever it is, for subnormals that were rounded, or flushed.
LEAST_ERROR = {torch.float32: 1e-36, torch.float16: 2.0**-17, torch.bfloat16: 1e-36}
HALF_A_STEP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


@dataclass(frozen=True)
class Difference:
    """share: the largest error, of what is allowed. problem: one line, where it is no match."""

    share: float
    problem: str | None = None


def compare_near(_call: object, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    """By the limits of the expected tensor's dtype."""
    return near(actual, expected)


def compare_near_each(_call: object, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    """By the limits of the expected tensor's dtype, and each element by its own size."""
    return near_each(actual, expected)


def near_each(actual: Tensor, expected: Tensor) -> Difference:
    """`near`, no element further off than the largest may be by its size, and no bias: of results
    that are no sums."""
    whole = near(actual, expected)
    if whole.problem is not None:
        return whole
    ours, theirs = (one.detach().double().nan_to_num(0.0) for one in (actual, expected))
    limit = RELATIVE_ERROR[expected.dtype]
    bound = LARGEST_ELEMENT * limit * theirs.abs() + LEAST_ERROR[expected.dtype]
    found = [whole, within(ours, theirs, bound), _unbiased(ours, theirs, expected.dtype)]
    return max(found, key=lambda one: one.share)


def near(actual: Tensor, expected: Tensor, times: float = 1.0) -> Difference:
    """The norm of the difference, and its largest element. times: a factor on both limits."""
    if problem := _mismatch(actual, expected):
        return Difference(float("inf"), problem)
    if not expected.numel():
        return Difference(0.0)
    # Poison that is equal is no difference.
    ours, theirs = (one.detach().double().nan_to_num(0.0) for one in (actual, expected))
    limit = RELATIVE_ERROR[expected.dtype] * times
    distance = (ours - theirs).abs()
    norm = _share(float(distance.norm()), limit * float(theirs.norm()))
    largest = _share(float(distance.max()), LARGEST_ELEMENT * limit * float(theirs.abs().max()))
    share = max(norm, largest)
    if share <= 1:
        return Difference(share)
    at = where(distance)
    return Difference(
        share,
        f"{float(distance.max()):.3g} off at {at}: {float(ours[at]):.6g} where "
        f"{float(theirs[at]):.6g} belongs",
    )


def within(actual: Tensor, exact: Tensor, bound: Tensor) -> Difference:
    """Each element no further from `exact` than its `bound`, both float64."""
    if problem := _mismatch(actual, exact, any_dtype=True):
        return Difference(float("inf"), problem)
    if not exact.numel():
        return Difference(0.0)
    distance = (actual.double() - exact).abs()
    shares = torch.where(distance == 0, 0.0, distance / bound)
    share = float(shares.max())
    if share <= 1:
        return Difference(share)
    at = where(shares)
    return Difference(
        share,
        f"{float(distance[at]):.3g} off at {at}: {float(actual[at]):.6g} where "
        f"{float(exact[at]):.6g} belongs, {float(bound[at]):.2g} allowed",
    )


def exactly(actual: Tensor, expected: Tensor) -> Difference:
    """The same bits, NaN's included."""
    if problem := _mismatch(actual, expected, finite=False):
        return Difference(float("inf"), problem)
    differs = bits(actual) != bits(expected)
    if not bool(differs.any()):
        return Difference(0.0)
    at = where(differs)
    return Difference(
        float("inf"),
        f"{int(differs.sum())} elements differ, the first at {at}: {actual[at].item()} where "
        f"{expected[at].item()} belongs",
    )


def bits(tensor: Tensor) -> Tensor:
    """The same memory as integers: NaN is equal to itself there."""
    views = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if not tensor.dtype.is_floating_point:
        return tensor
    return tensor.contiguous().view(views[tensor.dtype.itemsize])


def where(values: Tensor) -> tuple[int, ...]:
    """The index of the largest (or the first true) element."""
    flat = int(values.to(torch.float64).flatten().argmax())
    return tuple(int(one) for one in torch.unravel_index(torch.tensor(flat), values.shape))


def _mismatch(
    actual: Tensor, expected: Tensor, *, any_dtype: bool = False, finite: bool = True
) -> str | None:
    """What needs no tolerance: shape, dtype, and where there is no number."""
    if actual.shape != expected.shape:
        return f"shape {tuple(actual.shape)} where {tuple(expected.shape)} belongs"
    if actual.dtype != expected.dtype and not any_dtype:
        return f"{actual.dtype} where {expected.dtype} belongs"
    if not finite or not expected.dtype.is_floating_point:
        return None
    for what, test in (("NaN", torch.isnan), ("infinity", torch.isinf)):
        ours, theirs = test(actual), test(expected)
        if bool((ours & ~theirs).any()):
            wrong = ours & ~theirs
            return f"{what} at {where(wrong)}, {int(wrong.sum())} of {wrong.numel()} elements"
        if bool((theirs & ~ours).any()):
            return f"a number at {where(theirs & ~ours)}, where nothing may be written"
    return None


def _unbiased(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> Difference:
    """Of enough 16-bit numbers, both float64 here: not all a little too small or too large."""
    enough = theirs.numel() >= BIAS_ELEMENTS and len(theirs) >= BIAS_ROWS
    if dtype == torch.float32 or not enough:
        return Difference(0.0)
    bias = float(((ours - theirs) * theirs).sum()) / float((theirs * theirs).sum())
    share = _share(abs(bias), BIAS * RELATIVE_ERROR[dtype])
    if share <= 1:
        return Difference(share)
    way = "small" if bias < 0 else "large"
    return Difference(share, f"{abs(bias):.2%} too {way} on average: cut off, not rounded?")


def _share(error: float, allowed: float) -> float:
    if error == 0:
        return 0.0
    return error / allowed if allowed else float("inf")
