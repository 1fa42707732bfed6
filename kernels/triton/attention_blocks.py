"""How attention is cut into programs: a table, so that a captured graph never meets a search.

Reasons, for an H100 (132 units, 228 KB and 64 k registers each); shared memory stays under the
99 KB that a program may have on the smaller of NVIDIA's devices, and under AMD's 64 KB.

Decode is bound by reading the cache. BLOCK_M is the least that tensor cores take, 16 rows, or the
group. 64 keys of 128 elements are 16 KB in half precision, as many values another 16 KB. Two such
tiles are on their way while a third is used, in each of two or three programs a unit: over 128 KB
in flight, where 20 KB would cover 3 TB/s at a latency of 900 ns. Of int8 a tile has as many codes,
since they are widened in registers: twice the keys spill, and of contexts as many. Of e4m3 it has
twice the keys, as many bytes as in half precision, so that each of four warps loads a scale a
thread. With one such tile on its way 168 registers leave three programs a unit, each of which
computes while the others wait; with two there are 186, and two programs. Where programs share the
keys of a sequence two are on their way: a unit may have but one program.

Contexts are bound by tensor cores. 128 rows do 256 operations for each byte of keys and values that
they read, near the 263 at which an H100's 790 TFLOP/s meet 3.0 TB/s, and most of those bytes come
from the L2 cache that the blocks of a sequence share. A batch whose mean sequence has fewer rows
than that is served by 64, or most would be empty. Heads of 256 need twice the registers a row.

float32 is cut for correctness: it has no tensor cores that keep its precision.

A stage is a turn whose loads overlap with others. Through a block table there are two loads, one
for the other's address, and Triton shares the stages out between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .target import power_of_two

# A fixed number, so that a sum has the same order whatever the batch.
SEGMENTS = 16
# Two programs a unit. With fewer, the keys of each sequence are shared by SEGMENTS of them.
ENOUGH_PROGRAMS = 256
# Below this many keys a second kernel costs more than the first one saves.
LEAST_KEYS_TO_SPLIT = 256
# Elements of a tile of keys: with as many values, what two stages of them leave room for.
TILE_ELEMENTS = 8192


@dataclass(frozen=True)
class Blocks:
    """rows: of a query tile; keys: of a turn; warps: of a program; stages: of its pipeline."""

    rows: int
    keys: int
    warps: int
    stages: int


def decode_blocks(
    group: int,
    head_dim: int,
    dtype: torch.dtype,
    words: bool,
    split: bool,
    paged: bool,
    amd: bool,
) -> Blocks:
    """For one query a sequence. words: the cache holds words of two e4m3 codes; split: programs
    share a sequence's keys, for there are few."""
    rows, width = max(16, power_of_two(group)), power_of_two(head_dim)
    if dtype == torch.float32:
        return _for_float32(rows)
    large = rows > 64
    if words and not amd:
        width //= 2
    keys = min(64 if large or amd else 128, max(16, TILE_ELEMENTS // width))
    warps = 8 if large else 4
    if amd:
        return Blocks(rows, keys, warps, stages=2)
    one_tile = not paged or (words and not split)
    return Blocks(rows, keys, warps, stages=3 if one_tile else 5)


def context_blocks(
    rows_each: int,
    group: int,
    head_dim: int,
    dtype: torch.dtype,
    codes: bool,
    words: bool,
    paged: bool,
    amd: bool,
) -> Blocks:
    """For sequences of which some have another number of queries than one; rows_each: queries
    times group, of the mean sequence; codes: the cache holds int8; words: as `decode_blocks`."""
    least, width = max(16, power_of_two(group)), power_of_two(head_dim)
    if dtype == torch.float32:
        return _for_float32(least)
    large = rows_each >= 128 and width <= 128
    stages = 1 if amd else (3 if paged else 2)
    widened = codes or (words and (amd or not large))
    return Blocks(
        rows=max(least, 128 if large else 64),
        keys=64 if width <= 128 and not widened else 32,
        warps=8 if large or least > 64 else 4,
        stages=stages,
    )


def segments(sequences: int, kv_heads: int, longest: int) -> int:
    """How many programs share the keys of a decoded sequence."""
    few = sequences * kv_heads < ENOUGH_PROGRAMS
    return SEGMENTS if few and longest >= LEAST_KEYS_TO_SPLIT else 1


def _for_float32(rows: int) -> Blocks:
    return Blocks(rows, keys=16, warps=4, stages=2)
