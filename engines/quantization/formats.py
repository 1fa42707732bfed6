"""The on-disk layout of AWQ's "gemm" checkpoints, to and from `PackedInt4`.

Source: the AWQ reference implementation (github.com/mit-han-lab/llm-awq) and the checkpoints that
AutoAWQ publishes. All along out_features, eight to an int32: nibble i of word c holds column
8c + NIBBLE_COLUMN[i].
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.packing import PackedInt4, pack, unpack
from ..errors import ModelError

NIBBLE_COLUMN = (0, 2, 4, 6, 1, 3, 5, 7)


def to_awq(packed: PackedInt4) -> dict[str, Tensor]:
    """`qweight` int32 [in, out/8], `qzeros` int32 [in/group, out/8], `scales` float16
    [in/group, out]. Raises ModelError unless 8 divides out_features."""
    if packed.out_features % 8:
        raise ModelError("out_features", packed.out_features, "is not a multiple of 8")
    return {
        "qweight": _pack_columns(unpack(packed).T),
        "qzeros": _pack_columns(packed.zeros.T),
        "scales": packed.scales.T.half().contiguous(),
    }


def from_awq(qweight: Tensor, qzeros: Tensor, scales: Tensor) -> PackedInt4:
    """The inverse of `to_awq`; the group size follows from the shapes. Raises ModelError."""
    in_features, out_features = qweight.shape[0], 8 * qweight.shape[1]
    groups = scales.shape[0]
    if qzeros.shape != (groups, out_features // 8) or scales.shape[1] != out_features:
        shapes = [list(part.shape) for part in (qweight, qzeros, scales)]
        raise ModelError("awq", shapes, "are not shapes of one layer's qweight, qzeros and scales")
    if groups == 0 or in_features % groups:
        raise ModelError("awq", groups, f"groups do not divide {in_features} in_features")
    return pack(
        _unpack_columns(qweight).T,
        scales.T.contiguous(),
        _unpack_columns(qzeros).T.contiguous(),
        in_features // groups,
    )


def _pack_columns(codes: Tensor) -> Tensor:
    """uint8 codes [rows, columns] -> int32 [rows, columns / 8]."""
    words = codes.unflatten(1, (-1, 8))[..., list(NIBBLE_COLUMN)].to(torch.int64)
    shifts = 4 * torch.arange(8, device=codes.device)
    # Summed in 64 bits: the eighth nibble sets the sign of the 32-bit word.
    return (words << shifts).sum(dim=-1).to(torch.int32)


def _unpack_columns(words: Tensor) -> Tensor:
    """int32 [rows, columns / 8] -> uint8 codes [rows, columns]."""
    shifts = 4 * torch.arange(8, device=words.device)
    nibbles = ((words.to(torch.int64)[..., None] >> shifts) & 15).to(torch.uint8)
    columns = torch.empty_like(nibbles)
    columns[..., list(NIBBLE_COLUMN)] = nibbles
    return columns.flatten(1)
