"""Weights as they are: the reference that every quantisation is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ...kernels.registry import select
from .linear import Linear


class DenseLinear:
    """weight [out_features, in_features], bias [out_features] or None.

    force: operation -> implementation, as `select` takes it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, force: Mapping[str, str] | None = None
    ) -> None:
        self.weight = weight
        self.bias = bias
        self._linear = select("linear", weight.device, weight.dtype, force).function

    def __call__(self, x: Tensor) -> Tensor:
        return self._linear(x, self.weight, self.bias)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: weight and bias."""
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)


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
        self._force = force
        # An embedding tied to the output projection is asked for twice and must exist once.
        self._converted: WeakValueDictionary[str, Tensor] = WeakValueDictionary()

    def tensor(self, name: str) -> Tensor:
        """The parameter `name`; the same tensor for as long as a caller keeps it."""
        tensor = self._converted.get(name)
        if tensor is None:
            tensor = self._weights[name].to(device=self._device, dtype=self._dtype)
            self._converted[name] = tensor
        return tensor

    def linear(self, names: Sequence[str]) -> Linear:
        """Modules `names` stacked along out_features, with their biases where they have them."""
        weight = self._stacked([f"{name}.weight" for name in names])
        return DenseLinear(weight, self.bias(names), self._force)

    def bias(self, names: Sequence[str]) -> Tensor | None:
        """The stacked biases of modules `names`, or None where none of them has one."""
        biases = [f"{name}.bias" for name in names]
        return self._stacked(biases) if any(name in self._weights for name in biases) else None

    def _stacked(self, names: Sequence[str]) -> Tensor:
        tensors = [self.tensor(name) for name in names]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
