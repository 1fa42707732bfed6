"""How near two results must be, by the dtype they were computed in. NaN is never near."""

from __future__ import annotations

import torch
from torch import Tensor

RELATIVE_ERROR = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}


def assert_near(actual: Tensor, expected: Tensor, times: float = 1.0) -> None:
    """The norm of the difference, and its largest element, against the expected tensor's."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert bool(torch.isfinite(actual).all())
    limit = RELATIVE_ERROR[expected.dtype] * times
    difference, scale = (actual.double() - expected.double()), expected.double()
    assert float(difference.norm()) <= limit * float(scale.norm())
    if scale.numel():
        assert float(difference.abs().max()) <= 4 * limit * float(scale.abs().max())
