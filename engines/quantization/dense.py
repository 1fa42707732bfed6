"""Weights as they are: the reference that every quantisation is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ...kernels.decoder import LinearMap
from ...kernels.registry import select


class DenseSource:
    """A checkpoint's parameters, converted to one dtype on one device as they are asked for.

    force: operation -> implementation, for the linear maps.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        force: Mapping[str, str] | None = None,
    ) -> None:
        self._weights = weights
        self._dtype = dtype
        self._device = device
        self._kernel = select("linear", device, dtype, force)
        # An embedding tied to the output projection is asked for twice and must exist once.
        self._converted: WeakValueDictionary[str, Tensor] = WeakValueDictionary()

    def tensor(self, name: str) -> Tensor:
        """The parameter `name`; the same tensor for as long as a caller keeps it."""
        tensor = self._converted.get(name)
        if tensor is None:
            tensor = self._weights[name].to(device=self._device, dtype=self._dtype)
            self._converted[name] = tensor
        return tensor

    def linear(self, names: Sequence[str]) -> LinearMap:
        """Modules `names` stacked along out_features, with their biases where they have them."""
        return self.linear_of(self._stacked([f"{name}.weight" for name in names]), names)

    def linear_of(self, weight: Tensor, names: Sequence[str]) -> LinearMap:
        """The linear map of `weight`, in the source's dtype, with the biases of modules `names`."""
        return self._kernel.function(weight, self.bias(names), self._dtype)

    def bias(self, names: Sequence[str]) -> Tensor | None:
        """The stacked biases of modules `names`, or None where none of them has one."""
        biases = [f"{name}.bias" for name in names]
        return self._stacked(biases) if any(name in self._weights for name in biases) else None

    def _stacked(self, names: Sequence[str]) -> Tensor:
        tensors = [self.tensor(name) for name in names]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
