"""A model whose linear maps are 4-bit, and how an engine runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.packing import PackedInt4, stack
from ...kernels.registry import KernelError, select
from ..errors import ConfigError
from .dense import DenseSource
from .linear import Linear


@dataclass(frozen=True)
class LayerReport:
    """What quantising one layer cost on the calibration tokens.

    rtn_loss, loss: mean squared error of the layer's output, its weights rounded to nearest and as
    chosen, its input the unquantised model's.
    ratios: the search's result by the module whose input was scaled; None: not scaled.
    """

    layer: int
    rtn_loss: float
    loss: float
    ratios: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """packed: 4-bit weights by module name, `model.layers.0.self_attn.q_proj`.
    dense: every other parameter by its name: embeddings, norms, biases, the output projection.
    report: one entry a layer, or none where the weights were quantised elsewhere.
    """

    dense: Mapping[str, Tensor]
    packed: Mapping[str, PackedInt4]
    group_size: int
    report: tuple[LayerReport, ...] = ()


class AwqSource:
    """A WeightSource over 4-bit weights: they stay packed, the rest is in `dtype` on `device`.

    force: operation -> implementation, of `w4a16_linear` and of `linear` for what is not packed.
    """

    def __init__(
        self,
        weights: QuantizedWeights,
        dtype: torch.dtype,
        device: torch.device,
        force: Mapping[str, str] | None = None,
    ) -> None:
        self._packed = weights.packed
        self._dense = DenseSource(weights.dense, dtype, device, force)
        self._kernel = select("w4a16_linear", device, dtype, force)
        self._dtype = dtype
        self._device = device

    def tensor(self, name: str) -> Tensor:
        """A parameter that is not quantised."""
        return self._dense.tensor(name)

    def linear(self, names: Sequence[str]) -> Linear:
        """Modules `names` stacked, packed if they were quantised.

        Raises ConfigError where the kernel cannot take their shape, or only some are quantised.
        """
        quantized = [name in self._packed for name in names]
        if not any(quantized):
            return self._dense.linear(names)
        if not all(quantized):
            raise ConfigError("quant", list(names), "modules that are all quantised, or none")
        packed = stack([self._packed[name] for name in names]).to(self._device)
        try:
            return self._kernel.function(packed, self._dense.bias(names), self._dtype)
        except KernelError as error:
            reason = f"weights that kernel {self._kernel.name!r} can take ({error})"
            raise ConfigError("quant", names[0], reason) from error
