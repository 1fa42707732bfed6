"""Trying attention over a cache: paged and contiguous, in the activations' dtype and in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..batch import AttentionBatch, ContiguousBatch, PagedBatch
from ..quantized_kv import SCALE_DTYPE, QuantizedKV
from ..reference.quantized_kv import quantize
from .cache import E4M3, poisoned_kv
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

# Past a sequence's end a table holds a number that no cache has.
NO_BLOCK = 10**6
# Every entry of a query, with a sign, and of a key: scores are 14 or 16 times the root of head_dim,
# too far apart for both to count, and equal ones stay equal however they are rounded.
LARGE_QUERY, LARGE_KEYS = 8.0, (1.75, 2.0)
GAP = 5  # slots between sequences of a contiguous cache


@dataclass(frozen=True)
class AttentionCase:
    """Sequences with so many new tokens, of so many in the cache. into_out: `out` is given.
    codes: of a quantised cache. scaled: what scores are scaled by, over the usual head_dim^-0.5.
    large: scores are, beyond what float32 has exponentials of."""

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    head_dim: int = 64
    kv_heads: int = 2
    group: int = 3
    block_size: int = 16
    window: int | None = None
    into_out: bool = True
    codes: torch.dtype = torch.int8
    scaled: float = 1.0
    large: bool = False

    @property
    def scale(self) -> float:
        return self.scaled * self.head_dim**-0.5


def _make_paged(case: AttentionCase, draw: Draw) -> Call:
    used, batch = scattered_blocks(case, draw)
    shape = (*used.shape, case.kv_heads, case.head_dim)
    k_cache, v_cache = _filled(case, draw, shape, used)
    kept = {"k_cache": k_cache, "v_cache": v_cache, "block_tables": batch.block_tables}
    return _call(case, draw, (k_cache, v_cache), batch, kept)


def _make_contiguous(case: AttentionCase, draw: Draw) -> Call:
    used, batch = separate_runs(case, draw)
    shape = (*used.shape, case.kv_heads, case.head_dim)
    k_cache, v_cache = _filled(case, draw, shape, used)
    return _call(case, draw, (k_cache, v_cache), batch, {"k_cache": k_cache, "v_cache": v_cache})


def _make_quantized_paged(case: AttentionCase, draw: Draw) -> Call:
    used, batch = scattered_blocks(case, draw)
    cache = filled_kv(
        draw, (*used.shape, case.kv_heads, case.head_dim), used, case.codes, large=case.large
    )
    kept = {**vars(cache), "block_tables": batch.block_tables}
    return _call(case, draw, (cache,), batch, kept)


def _make_quantized_contiguous(case: AttentionCase, draw: Draw) -> Call:
    used, batch = separate_runs(case, draw)
    cache = filled_kv(
        draw, (*used.shape, case.kv_heads, case.head_dim), used, case.codes, large=case.large
    )
    return _call(case, draw, (cache,), batch, vars(cache))


def _call(
    case: AttentionCase,
    draw: Draw,
    caches: tuple[object, ...],
    batch: AttentionBatch,
    kept: dict[str, Tensor],
) -> Call:
    """Queries are a view of the first heads of a fused projection, as a model has them."""
    heads = case.group * case.kv_heads
    fused = draw.normal(sum(case.query_lengths), heads + 2 * case.kv_heads, case.head_dim)
    if case.large:
        fused = LARGE_QUERY * fused[..., :1].sign().expand(fused.shape).contiguous()
    q = fused[:, :heads]
    out = draw.poison(*q.shape) if case.into_out else None
    return Call(
        (q, *caches, batch, case.scale, case.window, out),
        kept={**kept, "q": fused},
        written={} if out is None else {"out": out},
        returns=None if out is None else "out",
    )


def scattered_blocks(case: AttentionCase, draw: Draw) -> tuple[Tensor, PagedBatch]:
    """Which slots of a cache hold tokens, bool [blocks, block_size], and where: the blocks of a
    sequence lie scattered, the rest of the last one is not used."""
    counts = [-(-length // case.block_size) for length in case.kv_lengths]
    total = sum(counts) + 3
    free = iter(draw.permutation(total).tolist())
    used = torch.zeros(total, case.block_size, dtype=torch.bool)
    tables = torch.full((len(counts), max([*counts, 1])), NO_BLOCK)
    for row, (count, length) in enumerate(zip(counts, case.kv_lengths, strict=True)):
        for column in range(count):
            tables[row, column] = block = next(free)
            used[block, : length - column * case.block_size] = True
    batch = PagedBatch(case.query_lengths, case.kv_lengths, tables.to(draw.device))
    return used.to(draw.device), batch


def separate_runs(case: AttentionCase, draw: Draw) -> tuple[Tensor, ContiguousBatch]:
    """Sequences in reverse order, with gaps; bool [tokens]."""
    end = sum(case.kv_lengths) + GAP * len(case.kv_lengths)
    used, starts = torch.zeros(end, dtype=torch.bool), []
    for length in case.kv_lengths:
        end -= length + GAP
        starts.append(end)
        used[end : end + length] = True
    batch = ContiguousBatch(case.query_lengths, case.kv_lengths, tuple(starts))
    return used.to(draw.device), batch


def _filled(
    case: AttentionCase, draw: Draw, shape: tuple[int, ...], used: Tensor
) -> tuple[Tensor, Tensor]:
    keys, values = draw.normal(*shape), draw.normal(*shape)
    if case.large:
        keys.copy_(_large_keys(draw, shape))
    for cache in (keys, values):
        cache[~used] = float("nan")
    return keys, values


def _large_keys(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    less, more = LARGE_KEYS
    return torch.where(draw.uniform(*shape[:-1], 1) < 0.5, less, more).expand(shape)


def filled_kv(
    draw: Draw, shape: tuple[int, ...], used: Tensor, codes: torch.dtype, *, large: bool = False
) -> QuantizedKV:
    """Heads of unlike sizes in the slots that are used; the rest as `poisoned_kv` has it. large: as
    AttentionCase."""
    cache = poisoned_kv(draw, shape, codes)
    for room, scales in ((cache.keys, cache.key_scales), (cache.values, cache.value_scales)):
        x = draw.normal(*shape, dtype=torch.float32) * draw.uniform(shape[-2], 1) * 3
        if large and room is cache.keys:
            x = _large_keys(draw, shape)
        fresh, fresh_scales = quantize(x, codes)
        # PyTorch moves bytes, but not every kind of code, by index.
        room.view(torch.uint8)[used] = fresh.view(torch.uint8)[used]
        scales[used] = fresh_scales[used]
    return cache


def _work(case: AttentionCase, dtype: torch.dtype) -> Work:
    return _counted(case, dtype, token_bytes=case.head_dim * dtype.itemsize)


def _quantized_work(case: AttentionCase, dtype: torch.dtype) -> Work:
    return _counted(case, dtype, token_bytes=case.head_dim + SCALE_DTYPE.itemsize)


def _counted(case: AttentionCase, dtype: torch.dtype, token_bytes: int) -> Work:
    """Keys and values that any query sees are read once; two products a pair that is seen."""
    seen = pairs = 0
    for length, kv_length in zip(case.query_lengths, case.kv_lengths, strict=True):
        window = case.window or kv_length
        first = max(0, kv_length - length - window + 1)
        seen += (kv_length - first) if length else 0
        pairs += sum(min(kv_length - i, window) for i in range(length))
    heads = case.group * case.kv_heads
    queries = nbytes(dtype, 2 * sum(case.query_lengths) * heads * case.head_dim)
    return Work(queries + 2 * seen * case.kv_heads * token_bytes, 4 * pairs * heads * case.head_dim)


def _of_model(model: ModelShape, step: StepShape) -> dict[str, AttentionCase]:
    case = AttentionCase(
        (step.prompt,) if step.prompt else (1,) * step.batch,
        (step.prompt,) if step.prompt else (step.context,) * step.batch,
        model.head_dim,
        model.kv_heads,
        model.heads // model.kv_heads,
        step.block_size,
        model.window,
    )
    return {"attention": case}


def _of_quantized_model(model: ModelShape, step: StepShape) -> dict[str, AttentionCase]:
    (case,) = _of_model(model, step).values()
    return {"int8": case, "fp8": replace(case, codes=E4M3)}


CASES = {
    "decode: ragged": AttentionCase((1, 1, 1), (1, 17, 33)),
    "decode: a new result": AttentionCase((1, 1, 1), (4, 16, 31), into_out=False),
    "decode: heads of 80, group 1": AttentionCase((1,), (1,), 80, group=1, block_size=1),
    "decode: heads of 96, page 32": AttentionCase(
        (1, 1, 1), (16, 47, 3), 96, 1, 4, 32, scaled=0.25
    ),
    "decode: heads of 128, group 8": AttentionCase((1, 1), (40, 65), 128, 1, 8),
    "decode: heads of 256, group 8": AttentionCase((1, 1), (9, 150), 256, 1, 8, scaled=1.5),
    "decode: heads of 72, group 4": AttentionCase((1, 1), (16, 5), 72, group=4),
    "decode: long": AttentionCase((1, 1), (700, 2), 64, 1, 3),
    "prefill: ragged": AttentionCase((7, 1, 32), (7, 1, 32), 128, group=4),
    "prefill: a new result": AttentionCase((5, 18), (5, 18), 80, group=1, into_out=False),
    "prefill: heads of 256, page 1": AttentionCase((3, 1), (9, 5), 256, 3, 1, 1, scaled=1.5),
    "prefill: an empty sequence": AttentionCase((2, 0, 1), (2, 0, 4)),
    "chunk: with a past": AttentionCase((5, 3), (21, 40), 96, block_size=32),
    "chunk: of a long past": AttentionCase((17,), (130,), 64, 1, 3, scaled=0.25),
    "mixed: contexts and decodes": AttentionCase((6, 4, 1, 1), (6, 20, 18, 1), 64, 1, 8),
    "mixed: a decode before contexts": AttentionCase((1, 3, 1, 5, 1, 1), (9, 3, 1, 21, 40, 2)),
    "window: decode": AttentionCase((1, 1), (40, 5), window=7),
    "window: prefill": AttentionCase((20, 4), (20, 4), window=6),
    "window: a chunk with a past": AttentionCase(
        (9, 2), (41, 30), block_size=4, window=8, scaled=0.25
    ),
    "window: of one": AttentionCase((4, 1), (6, 3), window=1),
    "large scores: decode": AttentionCase((1, 1), (150, 1), 128, 1, 8, large=True),
    "large scores: contexts and decodes": AttentionCase(
        (6, 4, 1, 1), (6, 20, 18, 1), 64, 1, 8, large=True
    ),
}
# Contexts and chunks that a kernel may cut into pieces, and groups that fill a block or more.
_LONG = {
    "long: decode, group 4": AttentionCase((1, 1), (700, 257), kv_heads=1, group=4),
    "long: decode, window": AttentionCase((1, 1), (700, 300), group=1, window=270, scaled=1.5),
    "long: chunk": AttentionCase((70, 3, 1), (70, 300, 520), block_size=32, scaled=0.25),
    "long: chunk, window": AttentionCase((90, 1), (400, 90), 80, window=33),
    "long: a group of ten": AttentionCase((2, 1), (300, 30), 64, 1, 10),
    "long: a group of seventy": AttentionCase((2, 1), (5, 300), 16, 1, 70),
}
# An interpreted launch takes about a second.
TINY = (
    "decode: ragged",
    "decode: heads of 80, group 1",
    "decode: heads of 96, page 32",
    "prefill: an empty sequence",
    "chunk: with a past",
    "large scores: contexts and decodes",
    "window: a chunk with a past",
)
_QUANTIZED = {
    f"{name}, {kind}": replace(case, codes=codes)
    for name, case in CASES.items()
    for kind, codes in (("int8", torch.int8), ("fp8", E4M3))
}
_QUANTIZED_TINY = (
    "decode: ragged, int8",
    "decode: heads of 80, group 1, int8",
    "large scores: contexts and decodes, int8",
    "window: a chunk with a past, int8",
)

_PLAIN = CASES | _LONG

PAGED = OpSpec("paged_attention", _PLAIN, TINY, _make_paged, _work, _of_model, reads_memory=True)
CONTIGUOUS = OpSpec(
    "contiguous_attention", _PLAIN, TINY, _make_contiguous, _work, _of_model, reads_memory=True
)
QUANTIZED_PAGED = OpSpec(
    "quantized_paged_attention",
    _QUANTIZED,
    _QUANTIZED_TINY,
    _make_quantized_paged,
    _quantized_work,
    _of_quantized_model,
    reads_memory=True,
)
QUANTIZED_CONTIGUOUS = OpSpec(
    "quantized_contiguous_attention",
    _QUANTIZED,
    _QUANTIZED_TINY,
    _make_quantized_contiguous,
    _quantized_work,
    _of_quantized_model,
    reads_memory=True,
)
