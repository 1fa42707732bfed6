"""8-bit linear through PyTorch's products: of integers, or of floats that hold the integers."""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..native.library import cpu_flags
from ..registry import implements, on_cpu
from ..w8a8 import W8A8Weight, quantize_rows

# Without one of these PyTorch's product of 8-bit integers is a plain loop: 512 rows of 1536 inputs
# and 576 outputs took 333 ms on a core of Zen 2, and 13 ms in float32.
_INTEGER_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni"})
_WIDENED = "codes are multiplied as float32: fewer bytes, no faster arithmetic"
# So many products of a code within ±127 and one down to -128 sum to less than 2^24, up to which
# float32 holds every integer, whatever the order.
_EXACT_INPUTS = 1024


def emulation(flags: frozenset[str]) -> str | None:
    """What is done in place of products of integers on a processor of these flags; None where
    PyTorch has such products."""
    return None if flags & _INTEGER_PRODUCTS else _WIDENED


_EMULATES = emulation(cpu_flags())


@implements("w8a8_linear", backend="torch-cpu", when=on_cpu, emulates=_EMULATES)
class TorchW8A8Linear:
    """As the reference."""

    def __init__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._codes = weight.codes.T
        self._scales = weight.scales
        self._bias = bias
        self._dtype = dtype
        # PyTorch's product of integers is wrong with one input a row.
        floats = _EMULATES or weight.codes.shape[1] == 1
        self._sums = _float_sums if floats else _integer_sums

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_rows(x.reshape(-1, x.shape[-1]))
        y = self._sums(codes, self._codes)
        y.mul_(scales[:, None]).mul_(self._scales)
        if self._bias is not None:
            y += self._bias
        return y.to(self._dtype).view(*x.shape[:-1], y.shape[-1])

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._codes, self._scales, self._bias)


def _integer_sums(x: Tensor, weight: Tensor) -> Tensor:
    """int8 [M, K] and [K, N] -> float32 [M, N], rounded once."""
    return torch.ops.aten._int_mm(x, weight).float()


def _float_sums(x: Tensor, weight: Tensor) -> Tensor:
    """The same numbers, to the bit."""
    if x.shape[1] <= _EXACT_INPUTS:
        return x.float() @ weight.float()
    pieces = zip(x.split(_EXACT_INPUTS, 1), weight.split(_EXACT_INPUTS), strict=True)
    sums = torch.zeros(x.shape[0], weight.shape[1], dtype=torch.int32)
    for some, maps in pieces:
        sums += (some.float() @ maps.float()).int()
    return sums.float()
