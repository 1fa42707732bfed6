"""What prompts share: the tokens that a prefix cache without bounds would find."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .api import PlannedRequest, Told

# What a prefix cache with blocks of this many tokens would find.
SHARING_BLOCK_TOKENS = 16
# Prompts are named so many tokens at a time, or one prompt where it alone is longer.
_CHUNK_TOKENS = 1 << 20

Names = NDArray[np.uint64]


def shared_share(requests: Sequence[PlannedRequest], told: Told | None = None) -> float:
    """What an unbounded prefix cache would find: whole blocks at the front of a prompt that began
    an earlier one, too, over all prompt tokens. Replies are not counted: what an engine answers is
    not known before.

    A prompt's first k blocks get a name of 64 bits, the sum of a hash of each by its place; what is
    found is every name that was there before. With the ten million blocks of a long trace, that two
    beginnings have one name by chance is less likely than one in 10^5.
    """
    names: list[Names] = []
    can_be_found: list[NDArray[np.bool_]] = []
    done = 0
    for several in _chunks(one.prompt_token_ids for one in requests):
        lengths = np.array([len(one) for one in several], dtype=np.int64)
        names.append(_names(several, lengths // SHARING_BLOCK_TOKENS, SHARING_BLOCK_TOKENS))
        can_be_found.append(_has_a_token_behind(lengths))
        done += len(several)
        if told is not None:
            told("comparing prompts", done, len(requests))
    total = sum(len(one.prompt_token_ids) for one in requests)
    every = np.concatenate(names)
    first = np.zeros(len(every), dtype=np.bool_)
    first[np.unique(every, return_index=True)[1]] = True
    hits = int((~first & np.concatenate(can_be_found)).sum()) * SHARING_BLOCK_TOKENS
    return hits / total if total else 0.0


def shared_blocks(
    prompts: Sequence[Sequence[int]], size: int = SHARING_BLOCK_TOKENS
) -> list[NDArray[np.int32]]:
    """Of each prompt, names of the whole blocks at its front that another prompt begins with, too.

    As many names as two prompts' lists have in common at their fronts, so many blocks do the
    prompts. Names are numbered as they are first seen, so that plans whose prompts share alike have
    the same, whatever the words. In what others find by chance: see `shared_share`.
    """
    blocks = [len(prompt) // size for prompt in prompts]
    every = np.concatenate(
        [
            _names(several, np.array([len(one) // size for one in several], dtype=np.int64), size)
            for several in _chunks(prompts)
        ]
    )
    _, first, inverse, counts = np.unique(
        every, return_index=True, return_inverse=True, return_counts=True
    )
    is_shared = counts > 1
    numbers = np.full(len(first), -1, dtype=np.int32)
    in_order = np.flatnonzero(is_shared)[np.argsort(first[is_shared])]
    numbers[in_order] = np.arange(len(in_order), dtype=np.int32)
    named = np.split(numbers[inverse], np.cumsum(blocks)[:-1]) if blocks else []
    # Who shares a block shares what is before it.
    return [one[one >= 0] for one in named]


def _chunks(prompts: Iterable[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    several: list[Sequence[int]] = []
    tokens = 0
    for one in prompts:
        several.append(one)
        tokens += len(one)
        if tokens >= _CHUNK_TOKENS:
            yield several
            several, tokens = [], 0
    yield several


def _names(several: Sequence[Sequence[int]], blocks: NDArray[np.int64], size: int) -> Names:
    """A name for each beginning of whole blocks of that size, prompt after prompt."""
    count = int(blocks.sum())
    whole = bytearray()
    for one, n in zip(several, blocks.tolist(), strict=True):
        # Twice as fast as numpy and `array` take a tuple apart.
        whole += struct.pack(f"={size * n}q", *one[: size * n])
    # Sums and products go round at 2^64.
    hashed = np.frombuffer(whole, dtype=np.uint64).reshape(count, size) @ _odd(size)
    place = _places(blocks)
    summed = np.cumsum(_mixed(hashed + _odd(int(place.max(initial=0)) + 1)[place]), dtype=np.uint64)
    before = np.concatenate((np.zeros(1, dtype=np.uint64), summed))[np.arange(count) - place]
    return summed - before


def _places(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each block in its own prompt, from 0."""
    begins = np.cumsum(blocks) - blocks
    return np.arange(int(blocks.sum())) - np.repeat(begins, blocks)


def _has_a_token_behind(lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of each block: the newest token is always computed, so the last one counts only if a token
    follows it."""
    blocks = lengths // SHARING_BLOCK_TOKENS
    behind = np.repeat(lengths, blocks) - SHARING_BLOCK_TOKENS * (_places(blocks) + 1)
    return behind > 0


def _odd(count: int) -> Names:
    """Numbers without a pattern, by which places are told apart."""
    return _mixed(np.arange(1, count + 1, dtype=np.uint64)) | np.uint64(1)


def _mixed(values: Names) -> Names:
    """The finaliser of splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
    generators, 2014): every bit of a value moves every bit of what comes out."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
