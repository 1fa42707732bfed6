"""What a model asks of its weights: a tensor by name, or a linear map made of named parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ...kernels.decoder import LinearMap


class WeightSource(Protocol):
    """Where a model's parameters come from. Names are Hugging Face's, `model.layers.0…`."""

    def tensor(self, name: str) -> Tensor:
        """A parameter in the model's dtype, on its device."""
        ...

    def linear(self, names: Sequence[str]) -> LinearMap:
        """The linear map of modules `names` (without `.weight`), stacked along out_features.

        Stacking q, k, v and gate, up reads the activations once; biases are stacked alike.
        """
        ...
