"""Weights in the panels that the native kernels walk: how they are packed, and the map over them.

`panels.h` says why they lie so, and `dense.h`, `w8a8.h`, `w4a8.h`, `w4a16.h`, `w8a16.h`, `fp8.h`
and `fp4.h` what each kind holds.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn import functional as F

from ..fp4 import Fp4Weight, scale_numbers
from ..fp8 import Fp8Weight
from ..grouped_int8 import MIDDLE_CODE, GroupedInt8
from ..held import held_bytes
from ..huge_pages import HugePages
from ..int4 import PackedInt4, unpack_int4
from ..registry import KernelError
from ..w8a8 import W8A8Weight
from .library import Native, check_bfloat16

COLUMNS = 32

# Maps are made in the order in which a step applies them, and so their weights lie in that order.
_weights = HugePages()


class Kind(IntEnum):
    """What a packed weight is, as `weights.h` numbers it."""

    DENSE = 0
    W8A8 = 1
    W4A16 = 2
    W8A16 = 3
    FP8 = 4
    FP4 = 5
    W4A8 = 6


class NativeWeights(ctypes.Structure):
    """`struct Weights` of `weights.h`. The memory that it points to is another's."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("packed", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("others", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("k", ctypes.c_int64),
        ("group", ctypes.c_int64),
    )


class PackedMap:
    """x [..., in_features] -> [..., out_features] in bfloat16 on the CPU, over packed weights.

    A row of the result depends neither on the other rows of x, nor on how many there are, nor on
    the threads. native_weights: for a kernel that makes this map one of its steps, of the
    target that it is packed_for.

    Raises KernelError for an x or a bias that the library would misread.
    """

    def __init__(
        self,
        native: Native,
        kind: Kind,
        size: tuple[int, int],
        packed: Tensor,
        *,
        scales: Tensor | None = None,
        others: Tensor | None = None,
        bias: Tensor | None = None,
        group_size: int = 0,
    ) -> None:
        self._native = native
        self.packed_for = native.target
        self.kind = kind
        self._size = out_features, in_features = size
        if bias is not None:
            check_bfloat16(bias)
            if bias.shape != (out_features,):
                raise KernelError(f"bias {tuple(bias.shape)} is not [{out_features}]")
            bias = bias.contiguous()
        self.bias = bias
        parts = (None if part is None else _weights.copy(part) for part in (packed, scales, others))
        self._memory = (*parts, bias)
        self.native_weights = NativeWeights(
            int(kind), *map(_address, self._memory), out_features, in_features, group_size
        )
        self._address = ctypes.addressof(self.native_weights)

    def __call__(self, x: Tensor) -> Tensor:
        out_features, in_features = self._size
        check_bfloat16(x)
        if x.shape[-1] != in_features:
            raise KernelError(f"x {tuple(x.shape)} does not end in the {in_features} inputs")
        x, library = x.contiguous(), self._native.library
        y = x.new_empty(*x.shape[:-1], out_features)
        if y.numel():
            library.linear(
                *(self._address, x.data_ptr(), y.data_ptr(), y.numel() // out_features),
                *(torch.get_num_threads(), library.parallel),
            )
        return y

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, their padding, scales, bias."""
        return held_bytes(*self._memory)

    @property
    def size(self) -> tuple[int, int]:
        """out_features, in_features."""
        return self._size

    @property
    def packed(self) -> Tensor:
        """The weights, as the kind's `pack_…` made them."""
        packed = self._memory[0]
        assert packed is not None
        return packed


def pack_dense(weight: Tensor) -> Tensor:
    """bfloat16 [N, K] -> [panels, K / 2, COLUMNS, 2], with zeros past N and K."""
    return _panels(weight, 2)


def unpack_dense(panels: Tensor) -> Tensor:
    """Some of the panels that `pack_dense` makes -> their rows, with the zeros past N and K."""
    return panels.transpose(1, 2).flatten(2).flatten(0, 1)


def pack_w8a8(weight: W8A8Weight) -> tuple[Tensor, Tensor]:
    """Codes + 128, uint8 [panels, K / 4, COLUMNS, 4], and scales float32 [panels · COLUMNS]."""
    # Flipping the sign bit adds 128. The codes of x past K are zero, those of W may be anything.
    codes = _panels(weight.codes, 4).view(torch.uint8).bitwise_xor_(0x80)
    return codes, F.pad(weight.scales, (0, -len(weight.scales) % COLUMNS))


def pack_w4a16(packed: PackedInt4, *, multiplies_bfloat16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Nibbles, uint8 [panels, K / 8, COLUMNS · 4], in the order of simd_nibbles.h, which
    is another where bfloat16 is multiplied; scales float16 and 8 - zeros int8, both
    [panels, K / group_size, COLUMNS]. packed: one that `takes_int4`.
    """
    nibbles = _nibbles(unpack_int4(packed), multiplies_bfloat16)
    return (nibbles, *_scales_and_shifts(packed))


def int4_map(
    native: Native,
    kind: Kind,
    packed: PackedInt4,
    parts: tuple[Tensor, Tensor, Tensor],
    bias: Tensor | None,
) -> PackedMap:
    """Of what `pack_w4a16` or `pack_w4a8` made of `packed`. Raises KernelError."""
    nibbles, scales, shifts = parts
    return PackedMap(
        native,
        kind,
        (packed.out_features, packed.in_features),
        nibbles,
        scales=scales,
        others=shifts,
        bias=bias,
        group_size=packed.group_size,
    )


def pack_w4a8(packed: PackedInt4) -> tuple[Tensor, Tensor, Tensor]:
    """Nibbles, uint8 [panels, K / 8, COLUMNS, 4], of eight inputs of a column the first four below
    the others; scales and 8 - zeros as `pack_w4a16`. packed: one that `takes_int4`."""
    low, high = _panels(unpack_int4(packed), 8).split(4, dim=3)
    return (low | (high << 4), *_scales_and_shifts(packed))


def pack_fp4(weight: Fp4Weight, *, multiplies_bfloat16: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Nibbles as those of `pack_w4a16`, scales bfloat16 [panels, K / block, COLUMNS], which are the
    same numbers, and the factors of rows, float32 [panels · COLUMNS]."""
    nibbles = _nibbles(weight.codes(), multiplies_bfloat16)
    scales = scale_numbers(weight).to(torch.bfloat16)
    factors = F.pad(weight.row_scales, (0, -weight.out_features % COLUMNS))
    return nibbles, _panels(scales, 1).squeeze(-1), factors


def pack_fp8(weight: Fp8Weight, *, multiplies_bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Codes, uint8 [panels, K / 4, COLUMNS · 4], two inputs of a column side by side or, where
    bfloat16 is not multiplied, in the order of `E4m3Weights` (simd_codes.h); scales float32
    [panels, groups, COLUMNS]. K is filled up to whole fours.
    """
    fours = _panels(weight.codes.view(torch.uint8), 4)
    pairs = fours.unflatten(3, (2, 2))  # [panels, K / 4, COLUMNS, 2, 2]
    if multiplies_bfloat16:
        codes = pairs.transpose(2, 3)
    else:
        codes = pairs.unflatten(2, (-1, 4)).transpose(3, 4)
    return codes.flatten(2).contiguous(), _panels(weight.row_scales(), 1).squeeze(-1)


def pack_w8a16(weight: GroupedInt8, inputs_together: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, uint8 [panels, K / T, COLUMNS, T], T being inputs_together, of which groups have whole
    ones; scales float32 and 128 - zeros int16, both [panels, K / group_size, COLUMNS].

    Two together are codes - 127.5 as sign and magnitude, four are the codes as they are.
    """
    if inputs_together == 2:
        # From 128 on the magnitude is code - 128, below 127 - code: all bits but the highest.
        above = weight.codes >= MIDDLE_CODE
        bytes_ = torch.where(above, weight.codes - MIDDLE_CODE, 255 - weight.codes)
    else:
        bytes_ = weight.codes
    codes = _panels(bytes_, inputs_together)
    shifts = MIDDLE_CODE - weight.zeros.to(torch.int16)
    return codes, _panels(weight.scales.float(), 1).squeeze(-1), _panels(shifts, 1).squeeze(-1)


def takes_fp8(weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """Whether groups are whole steps, but for one of all inputs."""
    return weight.groups == 1 or weight.block_columns % 4 == 0


def takes_int4(packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """Whether groups are whole lanes of 8 inputs, and float16, in which checkpoints publish scales,
    can hold these."""
    return packed.group_size % 8 == 0 and bool(packed.scales.to(torch.float16).isfinite().all())


def _nibbles(codes: Tensor, multiplies_bfloat16: bool) -> Tensor:
    """codes [N, K], 0 … 15, as simd_nibbles.h has them in a vector."""
    eights = _panels(codes, 8)
    if multiplies_bfloat16:
        # Byte 0 holds inputs 0 and 2, byte 1 inputs 4 and 6, bytes 2 and 3 the odd ones.
        low, high = eights[..., [0, 4, 1, 5]], eights[..., [2, 6, 3, 7]]
    else:
        # Of four columns first inputs 0 and 1, then 2 and 3, and above them 4 and 5, 6 and 7.
        pairs = eights.unflatten(2, (-1, 4)).unflatten(4, (4, 2)).transpose(3, 4)
        low, high = (half.flatten(2) for half in pairs.split(2, dim=3))
    return (low | (high << 4)).flatten(2)


def _scales_and_shifts(packed: PackedInt4) -> tuple[Tensor, Tensor]:
    scales, shifts = packed.scales.to(torch.float16), 8 - packed.zeros.to(torch.int8)
    return _panels(scales, 1).squeeze(-1), _panels(shifts, 1).squeeze(-1)


def _panels(rows: Tensor, together: int) -> Tensor:
    """[N, K] -> [N / COLUMNS, K / together, COLUMNS, together], with zeros past N and K."""
    padded = F.pad(rows, (0, -rows.shape[1] % together, 0, -rows.shape[0] % COLUMNS))
    blocks = padded.unflatten(0, (-1, COLUMNS)).unflatten(2, (-1, together))
    return blocks.transpose(1, 2).contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
