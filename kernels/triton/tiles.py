"""How a product [M, K] · [K, N] is cut for a GPU: a choice by shape alone, so results repeat."""

from __future__ import annotations

from dataclasses import dataclass

# Programs that fill a large device about twice; beyond that a split only adds traffic.
ENOUGH_PROGRAMS = 256
MOST_SPLITS = 8
# Up to so many rows, programs over 4-bit integers have four warps and 128 outputs. Four of them run
# at once on each of an H100's 132 units: half as many and one are enough, twice that would not fit.
FEW_ROWS = 32
ENOUGH_SMALL_PROGRAMS = 2 * 132 + 1
MOST_SMALL_SPLITS = 16
LARGEST_BLOCK_K = 128
LEAST_BLOCK_K = 32
# float32 has no tensor cores: its products are unrolled into registers, which hold no more, and win
# nothing but bytes, so only while rows are few.
MOST_FLOAT32_ROWS = 16
MOST_FLOAT32_BLOCK_K = 64
# More rows multiply weights that were widened into scratch. Of 4 bits, measured (docs/gpu.md): a
# layer of Llama-3-8B takes 307 µs packed and 323 widened at 256 rows, 174 and 324 at 128.
MOST_FOUR_BIT_ROWS = 256
# Of 8 bits: widening moves four bytes a weight more, 1.3 ps on an H100. cuBLAS at 790 TFLOP/s makes
# that good from 250 to 400 rows on, if tiles that convert as they go reach 250 to 350 (a guess).
MOST_EIGHT_BIT_ROWS = 256


@dataclass(frozen=True)
class Tiles:
    """A program computes block_m x block_n outputs, block_k inputs at a time. enough, most_splits:
    for `split_count`."""

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    enough: int = ENOUGH_PROGRAMS
    most_splits: int = MOST_SPLITS

    def grid(self, m: int, n: int) -> tuple[int, int]:
        """Programs along M and along N."""
        return -(-m // self.block_m), -(-n // self.block_n)


def tiles_for(m: int, block_k: int) -> Tiles:
    """Few rows: narrow tiles, many in flight, for the weights' bandwidth. Many: large ones. By
    arithmetic, of products whose first factor is the rows."""
    if m <= 64:
        return Tiles(_rows_up_to_64(m), 64, block_k, warps=4, stages=4)
    return Tiles(128, 128, min(block_k, 64), warps=8, stages=3)


def four_bit_tiles(m: int, block_k: int) -> Tiles:
    """Of 4-bit weights that become floats on their way; measured, docs/gpu.md."""
    return Tiles(_rows_up_to_64(m), 128, block_k, warps=8, stages=3)


def integer_tiles(m: int, block_k: int) -> Tiles:
    """Of 4-bit integers that become floats on their way."""
    return _few_row_tiles(m, block_k) if m <= FEW_ROWS else four_bit_tiles(m, block_k)


def four_by_eight_tiles(m: int, block_k: int) -> Tiles:
    """Of 4-bit integers times bytes."""
    return _few_row_tiles(m, block_k) if m <= FEW_ROWS else tiles_for(m, block_k)


def _few_row_tiles(m: int, block_k: int) -> Tiles:
    """The more weights a thread has, the fewer instructions one takes; beyond FEW_ROWS too many
    registers. By counts, not yet measured: docs/triton-kernels.md."""
    return Tiles(
        *(_rows_up_to_64(m), 128, block_k),
        warps=4,
        stages=4,
        enough=ENOUGH_SMALL_PROGRAMS,
        most_splits=MOST_SMALL_SPLITS,
    )


def code_tiles(m: int, block_k: int, stages: int) -> Tiles:
    """Of bytes times bytes; measured, docs/gpu.md."""
    if m <= 16:
        return Tiles(16, 64, block_k, warps=4, stages=stages)
    return Tiles(_rows_up_to_64(m), 128, block_k, warps=8, stages=stages)


def _rows_up_to_64(m: int) -> int:
    """More rows than 64 are several programs: of 128 together, no product was as fast."""
    return min(64, max(16, 1 << max(m - 1, 0).bit_length()))


def float32_tiles(block_k: int) -> Tiles:
    """Of up to MOST_FLOAT32_ROWS rows in float32, block_k up to MOST_FLOAT32_BLOCK_K."""
    return Tiles(MOST_FLOAT32_ROWS, 64, block_k, warps=8, stages=4)


def block_k_for(group: int, most: int = LARGEST_BLOCK_K) -> int:
    """Inputs of a block, where `group` of them share a scale: a power of two from LEAST_BLOCK_K to
    `most` that divides the group, or where none does one that wastes less than a block at the end
    of each group."""
    divisor = min(group & -group, most)
    if divisor >= LEAST_BLOCK_K:
        return divisor
    return max(LEAST_BLOCK_K, min(most, 1 << (group - 1).bit_length()))


def split_count(
    programs: int, k_blocks: int, enough: int = ENOUGH_PROGRAMS, most: int = MOST_SPLITS
) -> int:
    """Parts of K, a power of two up to `most` that brings `enough` programs, never more than there
    are blocks."""
    splits = 1
    while splits < most and programs * splits < enough and 2 * splits <= k_blocks:
        splits *= 2
    return splits
