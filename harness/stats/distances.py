"""Sums of distances between the values of many series at once, without a matrix of each.

The distance of a value to others is its own size times how many are less, and how many more, and
their sums: so values in order of size give the sums of all in one pass, and blocks of places that
are halved again and again, each in order of size, those to earlier ones (as a merge sort counts
inversions: Knuth, "The Art of Computer Programming", volume 3, section 5.1.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

# Within so few places every pair is cheaper.
_BLOCK_BITS = 5
_BLOCK = 1 << _BLOCK_BITS
_EARLIER = np.tri(_BLOCK, k=-1)


def to_all(values: _Floats) -> _Floats:
    """[series, n] -> [series, n]: of each value to all values of its series."""
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    less = np.cumsum(ascending, axis=1) - ascending
    count = values.shape[1]
    sums = ascending * (2 * np.arange(count) - count) + ascending.sum(axis=1)[:, None] - 2 * less
    found = np.empty_like(values)
    np.put_along_axis(found, order, sums, axis=1)
    return found


def to_earlier(values: _Floats) -> _Floats:
    """[series, n] -> [series, n]: of each value to those before it in its series."""
    found = _within_blocks(values)
    if values.shape[1] <= _BLOCK:
        return found
    places = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, places, axis=1)
    for bits in reversed(range(_BLOCK_BITS, (values.shape[1] - 1).bit_length())):
        places, ascending = _halved(places, ascending, bits, found)
    return found


def _within_blocks(values: _Floats) -> _Floats:
    """To those before it in its block."""
    series, count = values.shape
    width = min(_BLOCK, count)
    blocks = -(-count // width)
    padded = np.zeros((series, blocks * width))
    padded[:, :count] = values
    blocked = padded.reshape(series, blocks, width)
    distances = np.abs(blocked[..., :, None] - blocked[..., None, :])
    earlier = _EARLIER[:width, :width]
    return np.einsum("...ij,ij->...i", distances, earlier).reshape(series, -1)[:, :count]


def _halved(
    places: NDArray[np.int64], ascending: _Floats, bits: int, found: _Floats
) -> tuple[NDArray[np.int64], _Floats]:
    """Halve blocks of 2^(bits + 1) places, each in order of size, and add to `found` what values of
    the second halves have to those of the first. Returns the same of the halves."""
    series, count = places.shape
    half, at = 1 << bits, np.arange(count)
    start = at >> (bits + 1) << (bits + 1)
    is_first = (places & half) == 0
    # Of the values up to here in the block, how many are of its first half, and their sum.
    firsts = np.cumsum(is_first, axis=1) - start // 2
    sums = np.zeros((series, count + 1))
    np.cumsum(ascending * is_first, axis=1, out=sums[:, 1:])
    before = sums[:, start]
    less = sums[:, 1:] - before
    total = sums[:, np.minimum(start + 2 * half, count)] - before
    rows = np.arange(series)[:, None]
    distances = ascending * (2 * firsts - half) - 2 * less + total
    found[rows, places] += np.where(is_first, 0.0, distances)
    target = np.where(is_first, start + firsts - 1, at + half - firsts)
    halved = np.empty_like(places), np.empty_like(ascending)
    for one, other in zip(halved, (places, ascending), strict=True):
        one[rows, target] = other
    return halved
