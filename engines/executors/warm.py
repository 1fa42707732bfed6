"""Steps that nobody asked for, which meet every form of every kernel before a request does.

Triton compiles a kernel anew, for seconds, where the form of a call is new: another tile for more
rows, another split of a product, a decode whose keys several programs share. Which form it is
follows from a step's numbers (`kernels/triton/tiles.py`, `attention_blocks.py`), so a few steps
meet all. The last is the largest there may be: if it has no room, that is said now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from ..api import SamplingParams
from ..sampling import Draw
from ..step import Limits
from .inputs import StepInputs

# Of the prompts that a step is made of: its products grow with all tokens, attention with these.
_PROMPT_TOKENS = 1024
# Rows from which a product is cut otherwise: tiles of 16, 32, 64 and 128 rows, and the most tiles
# of 64 that read packed weights.
_FIRST_OF_A_TILE = (1, 17, 33, 65, 193)
_TILE_ROWS = 128
# So many programs are never split further, whatever the columns.
_MOST_TILES = 256
_PENALTIES = {"repetition_penalty": 1.5, "frequency_penalty": 0.5, "presence_penalty": 0.5}


@dataclass(frozen=True)
class WarmCache:
    """An empty KV cache, whose first place every token here is written to. block_size: of a paged
    one; None: it is contiguous."""

    capacity_tokens: int
    block_size: int | None


def warm_steps(limits: Limits, cache: WarmCache) -> Iterator[StepInputs]:
    """Decodes alone, of few and many sequences and of one long one; then prompts, which are cut as
    any mixture with decodes is."""
    longest = min(limits.max_model_len, cache.capacity_tokens)
    for rows in row_counts(limits.max_num_seqs):
        yield _step([1] * rows, [1] * rows, rows, cache)
    yield _step([1], [longest], 1, cache)
    each = min(_PROMPT_TOKENS, longest)
    # Two tokens, of which every model's heads make few rows of queries.
    for tokens in (2, *row_counts(limits.max_num_batched_tokens)[1:]):
        lengths = [each] * (tokens // each) + [tokens % each] * (tokens % each > 0)
        yield _step(lengths, lengths, limits.max_num_seqs, cache)


def row_counts(most: int) -> tuple[int, ...]:
    """Rows of a product that meet each way to cut it, and the most. Twice as many tiles are split
    into half as many parts, so one more than each power of two of them is enough."""
    tiles = (1 << power for power in range(_MOST_TILES.bit_length()))
    firsts = (*_FIRST_OF_A_TILE, *(_TILE_ROWS * count + 1 for count in tiles))
    return (*sorted(rows for rows in firsts if rows < most), most)


def warm_draws() -> Iterator[Draw]:
    """A greedy choice, and a draw for each set of limits that may be asked for, without penalties
    and with them: they make a batch's logits float32."""
    yield Draw(SamplingParams(), 0)
    for top_k, top_p, min_p in product((0, 1), (1.0, 0.5), (0.0, 0.5)):
        plain = SamplingParams(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p)
        yield Draw(plain, 0)
        yield Draw(replace(plain, **_PENALTIES), 1, 0, (0,), (0,))


def _step(
    query_lengths: list[int], kv_lengths: list[int], most_rows: int, cache: WarmCache
) -> StepInputs:
    """Sequences of `kv_lengths` tokens of which the last `query_lengths` are computed, and the next
    one of the first `most_rows` is wanted."""
    positions: list[int] = []
    last: list[int] = []
    for query, kv in zip(query_lengths, kv_lengths, strict=True):
        positions.extend(range(kv - query, kv))
        last.append(len(positions) - 1)
    size = cache.block_size
    return StepInputs(
        token_ids=[0] * len(positions),
        positions=positions,
        slots=[0] * len(positions),
        logit_rows=last[:most_rows],
        query_lengths=query_lengths,
        kv_lengths=kv_lengths,
        tables=[] if size is None else [[0] * -(-kv // size) for kv in kv_lengths],
        starts=[0] * len(kv_lengths) if size is None else [],
        awaited=[],
        awaited_rows=[],
    )
