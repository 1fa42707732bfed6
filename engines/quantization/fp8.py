"""FP8: every linear map of every layer in e4m3, rounded to nearest, a scale a row.

Nothing is calibrated: activations are scaled as they come, each token by itself. Sources:
compressed-tensors' `FP8_DYNAMIC`; Micikevicius et al., "FP8 Formats for Deep Learning", 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...kernels.fp8 import quantize_fp8
from ...kernels.registry import KernelError, select
from ..errors import ConfigError, ModelError
from .dense import DenseSource
from .linear import Linear

LAYERS = "model.layers."


class Fp8Source:
    """A WeightSource that rounds what layers multiply by; embeddings and the output projection
    stay in `dtype`, as the scheme leaves them.

    force: operation -> implementation, of `fp8_linear` and of `linear` for the rest.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        force: Mapping[str, str] | None = None,
    ) -> None:
        self._weights = weights
        self._dense = DenseSource(weights, dtype, device, force)
        self._kernel = select("fp8_linear", device, dtype, force)
        self._dtype = dtype
        self._device = device

    @property
    def widens(self) -> bool:
        """Whether the product is not one of e4m3: then FP8 saves memory, and not arithmetic."""
        return self._kernel.name in ("reference", "torch-widened", "triton-widened")

    def tensor(self, name: str) -> Tensor:
        """A parameter that is not quantised."""
        return self._dense.tensor(name)

    def linear(self, names: Sequence[str]) -> Linear:
        """Modules `names` stacked. Raises ModelError for weights that are not finite, ConfigError
        where the kernel cannot take their shape."""
        if not all(name.startswith(LAYERS) for name in names):
            return self._dense.linear(names)
        # A row's scale looks at nothing else, so rows may be stacked before they are rounded.
        weight = torch.cat([self._weights[f"{name}.weight"].to(self._device) for name in names])
        try:
            codes = quantize_fp8(weight)
        except KernelError as error:
            raise ModelError("model", names[0], f"cannot be quantised: {error}") from error
        try:
            return self._kernel.function(codes, self._dense.bias(names), self._dtype)
        except KernelError as error:
            reason = f"weights that kernel {self._kernel.name!r} can take ({error})"
            raise ConfigError("quant", names[0], reason) from error
