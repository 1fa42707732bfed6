"""The on-disk layout of GPTQ's 4-bit checkpoints, into `PackedInt4`.

Source: github.com/AutoGPTQ/AutoGPTQ and its successor GPTQModel, whose `checkpoint_format` says
how zero points are stored: "gptq" (and where it is absent) less one, "gptq_v2" as they are.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor

from ...kernels.packing import pack
from ..errors import ModelError
from .quantized import QuantizedMap


def from_gptq(
    qweight: Tensor, qzeros: Tensor, scales: Tensor, g_idx: Tensor, checkpoint_format: str = "gptq"
) -> QuantizedMap:
    """`qweight` int32 [in/8, out], nibble j of row r is input 8r + j; `qzeros` int32
    [groups, out/8], eight columns a word; `scales` float16 [groups, out]; `g_idx` int32 [in], the
    group of each input: W[k, n] = scales[g_idx[k], n] · (q - zero).

    A last group that is shorter than the others is read as several of a size that divides both.
    Raises ModelError for shapes that do not agree, an unknown format, or groups of other sizes.
    """
    stored_less = {"gptq": 1, "gptq_v2": 0}.get(checkpoint_format)
    if stored_less is None:
        raise ModelError("checkpoint_format", checkpoint_format, "is neither gptq nor gptq_v2")
    in_features, out_features = 8 * qweight.shape[0], qweight.shape[1]
    groups = scales.shape[0]
    if (
        qzeros.shape != (groups, out_features // 8)
        or scales.shape != (groups, out_features)
        or g_idx.shape != (in_features,)
    ):
        shapes = [list(part.shape) for part in (qweight, qzeros, scales, g_idx)]
        raise ModelError("gptq", shapes, "are not shapes of qweight, qzeros, scales and g_idx")
    order = torch.argsort(g_idx, stable=True)
    group_of = g_idx[order].long()
    size = _group_size(group_of, groups)
    # In each nibble by itself: an addition to the word would carry from 15 into its neighbour.
    zeros = (_nibbles(qzeros) + stored_less) & 15
    first = group_of[::size]
    in_order = bool((order == torch.arange(in_features, device=order.device)).all())
    codes = _nibbles(qweight.T).T.index_select(0, order)
    return QuantizedMap(
        pack(codes.T, scales[first].T.contiguous(), zeros[first].T.contiguous(), size),
        None if in_order else order,
    )


def _group_size(group_of: Tensor, groups: int) -> int:
    """Inputs that share a scale, where all groups but the last have as many. group_of: sorted."""
    in_features = len(group_of)
    outside = in_features == 0 or int(group_of[0]) < 0 or int(group_of[-1]) >= groups
    counts = [] if outside else torch.bincount(group_of, minlength=groups).tolist()
    if outside or len(set(counts[:-1])) > 1 or not 0 < counts[-1] <= counts[0]:
        raise ModelError("g_idx", counts, f"are not {groups} groups of one size, the last shorter")
    return gcd(counts[0], counts[-1])


def _nibbles(words: Tensor) -> Tensor:
    """int32 [rows, columns] -> uint8 [rows, 8 · columns], the lowest bits first."""
    shifts = 4 * torch.arange(8, device=words.device)
    return ((words.to(torch.int64)[..., None] >> shifts) & 15).to(torch.uint8).flatten(1)
