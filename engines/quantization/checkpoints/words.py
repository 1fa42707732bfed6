"""Codes of four or eight bits in 32-bit words, the first in the lowest bits.

Every integer format packs so; they differ in the axis, and AWQ in the order. A word's bytes are
read as they lie, the lowest first, as on every processor that torch runs on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ....kernels.int4 import pack_nibbles, unpack_nibbles


def words_for(codes: int, bits: int) -> int:
    """Words that hold a number of codes; the last may be filled in part."""
    return -(-codes * bits // 32)


def pack_words(codes: Tensor, bits: int) -> Tensor:
    """uint8 [rows, n] -> int32 [rows, words_for(n, bits)]; what is left of a last word is zero."""
    per_word = 32 // bits
    padded = F.pad(codes, (0, -codes.shape[1] % per_word))
    if bits == 4:
        padded = pack_nibbles(padded)
    # Flat, since an axis of one may have any stride.
    return padded.flatten().view(torch.int32).view(len(codes), -1)


def unpack_words(words: Tensor, bits: int, codes: int) -> Tensor:
    """The inverse: int32 [rows, words_for(codes, bits)] -> uint8 [rows, codes]."""
    data = words.flatten().view(torch.uint8).view(len(words), -1)
    if bits == 4:
        data = unpack_nibbles(data)
    return data[:, :codes].contiguous()
