"""Weights that hold a NaN or an infinity, found while they still have a name: later they show in
the logits, which name no tensor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import ModelError
from .lazy import Lazy


def check_finite(name: str, weight: Tensor) -> Tensor:
    """The weight. Raises ModelError, naming it, where it holds a NaN or an infinity.

    Either makes the sum one, too, and summing takes a tenth of the time and no memory; only a sum
    that is too large for its dtype is looked at number by number.
    """
    if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
        raise ModelError("model", name, "holds numbers that are not finite")
    return weight


class Finite(Lazy[Tensor]):
    """The same tensors, each checked when it is asked for. Raises ModelError."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._weights = weights

    def make(self, name: str) -> Tensor:
        return check_finite(name, self._weights[name])
