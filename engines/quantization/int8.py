"""8-bit weights, rounded to nearest when they are loaded: no calibration, nothing to cache.

A scale for each output row, and at run time one for each token's activations: Xiao et al.,
"SmoothQuant", 2023, section 3, without its smoothing. The output projection is in 8 bits like every
other map (as in llama.cpp's Q8_0); norms and the embedding, of which a step reads a row a token,
are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...kernels.int8 import Int8Weight, quantize_rows, stack_int8
from ...kernels.registry import select
from .dense import DenseSource
from .linear import Linear


class Int8Source:
    """A WeightSource that rounds a checkpoint's maps as they are asked for; the rest is in `dtype`
    on `device`. force: operation -> implementation, of `w8a8_linear`."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        force: Mapping[str, str] | None = None,
    ) -> None:
        self._weights = weights
        self._dense = DenseSource(weights, dtype, device, force)
        self._kernel = select("w8a8_linear", device, dtype, force)
        self._dtype = dtype
        self._device = device

    def tensor(self, name: str) -> Tensor:
        """A parameter as it is, in the source's dtype."""
        return self._dense.tensor(name)

    def linear(self, names: Sequence[str]) -> Linear:
        """Modules `names` in 8 bits, stacked; their rows keep the scales they have alone."""
        weight = stack_int8([self._rounded(f"{name}.weight") for name in names])
        return self._kernel.function(weight, self._dense.bias(names), self._dtype)

    def _rounded(self, name: str) -> Int8Weight:
        """From the checkpoint's own precision, whatever the activations'."""
        return Int8Weight(*quantize_rows(self._weights[name].to(self._device)))
