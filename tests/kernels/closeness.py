"""How near two results must be, by the dtype they were computed in. NaN is never near."""

from __future__ import annotations

import torch
from llmbench.kernels.specs.closeness import near
from torch import Tensor


def apart(x: Tensor) -> Tensor:
    """The same numbers, none next to another."""
    return torch.stack((x, x), -1)[..., 0]


def assert_near(actual: Tensor, expected: Tensor, times: float = 1.0) -> None:
    """The norm of the difference, and its largest element, against the expected tensor's."""
    assert bool(torch.isfinite(actual).all())
    assert near(actual, expected, times).problem is None
