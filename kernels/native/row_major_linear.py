"""Dense linear maps in bfloat16 on processors with AMX, for up to MOST_ROWS rows of x.

At more PyTorch's product, which uses the processor's tiles too, is the better. It reads row-major
weights; so do the kernels here, and one copy serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..held import held_bytes
from ..registry import KernelError
from .library import Native, check_bfloat16

# Above these PyTorch's product takes over: measured at SmolLM2-135M's sizes, where the narrowest
# product loses.
MOST_ROWS = 64


def prefers(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, x: Tensor) -> bool:  # noqa: ARG001
    """Up to MOST_ROWS rows."""
    return x.numel() <= MOST_ROWS * weight.shape[1]


class RowMajorMap:
    """x [..., in_features] -> [..., out_features] by `native`. Raises KernelError for an x, weight
    or bias that the library would misread."""

    def __init__(self, native: Native, weight: Tensor, bias: Tensor | None) -> None:
        out_features = weight.shape[0]
        if bias is not None and bias.shape != (out_features,):
            raise KernelError(f"bias {tuple(bias.shape)} is not [{out_features}]")
        for tensor in (weight,) if bias is None else (weight, bias):
            check_bfloat16(tensor)
        self._native = native
        self.weight = weight.contiguous()
        self.bias = None if bias is None else bias.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        out_features, in_features = self.weight.shape
        check_bfloat16(x)
        if x.shape[-1] != in_features:
            raise KernelError(f"x {tuple(x.shape)} does not end in the {in_features} inputs")
        library = self._native.library
        assert library.row_major_linear is not None
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], out_features)
        if y.numel():
            library.row_major_linear(
                *(x.data_ptr(), self.weight.data_ptr()),
                *(None if self.bias is None else self.bias.data_ptr(), y.data_ptr()),
                *(y.numel() // out_features, out_features, in_features),
                *(torch.get_num_threads(), library.parallel),
            )
        return y

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: weight and bias."""
        return held_bytes(self.weight, self.bias)


@dataclass(frozen=True)
class NativeRowMajorLinear:
    """`linear` by `native`."""

    native: Native

    def __call__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> RowMajorMap:  # noqa: ARG002
        """As the reference. Raises KernelError."""
        return RowMajorMap(self.native, weight, bias)
