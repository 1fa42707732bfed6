"""argmax: every implementation against PyTorch's, whose ties it follows; only finite numbers have a
place."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.kernels.reference.sample import NO_TOKEN
from llmbench.kernels.registry import Implementation, implementations

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


IN_ITS_DTYPES = pytest.mark.parametrize(
    ("implementation", "dtype"),
    [
        pytest.param(one, dtype, id=f"{one.name}-{dtype}")
        for one in implementations("argmax")
        for dtype in DTYPES
        if one.when(torch.device("cpu"), dtype)
    ],
)


@IN_ITS_DTYPES
@pytest.mark.parametrize("size", [1, 31, 256, 257, 700, 49152])
def test_the_place_of_the_largest(
    implementation: Implementation, size: int, dtype: torch.dtype
) -> None:
    # Few different numbers, so that the largest comes more than once.
    coarse = torch.randint(-9, 9, (5, size)).to(dtype)
    for logits in (coarse, torch.randn(5, size).to(dtype), -torch.rand(5, size).to(dtype)):
        places = implementation.function(logits)
        assert places.dtype == torch.int64
        assert torch.equal(places, logits.argmax(-1))


@IN_ITS_DTYPES
def test_what_is_no_plain_number(implementation: Implementation, dtype: torch.dtype) -> None:
    inf, nan = math.inf, math.nan
    rows = {
        (1.0, inf, 2.0, inf): NO_TOKEN,
        (-inf, -inf, -inf, -inf): NO_TOKEN,
        (-inf, -3.0, -2.0, -inf): 2,
        (-0.0, 0.0, -1.0, 0.0): 0,
        (1.0, inf, nan, nan): NO_TOKEN,
        (-nan, inf, 1.0, nan): NO_TOKEN,
        (nan, -inf, -inf, -inf): NO_TOKEN,
    }
    logits = torch.tensor(list(rows)).to(dtype)
    assert implementation.function(logits).tolist() == list(rows.values())
    assert implementation.function(logits[:0]).shape == (0,)
    strided = logits.T.contiguous().T
    assert implementation.function(strided).tolist() == list(rows.values())
