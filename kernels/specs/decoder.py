"""Trying `decoder_step`: small random models, decodes over a cache of earlier tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import AttentionBatch, PagedBatch
from ..decoder import DecoderLayer, DecoderWeights, LinearMap
from ..int4 import pack_int4
from ..quantized_kv import SCALE_DTYPE
from ..registry import implementations, select
from ..w8a8 import W8A8Weight, quantize_rows
from .attention import AttentionCase, filled_kv, scattered_blocks, separate_runs
from .cache import E4M3
from .closeness import Difference, exactly, near
from .decoder_cases import CASES, DecoderCase, Kind, of_model
from .spec import Call, Draw, OpSpec, Work, nbytes

# Some ten roundings a layer to eight bits of mantissa; a code of int8 may come out one off.
TIMES_ONE_ROUNDING = 4
# So may one of e4m3, whose steps are 2^-4 to 2^-3 of a number: 0.026 of it off on average, each.
TIMES_ONE_ROUNDING_E4M3 = 6


@dataclass(frozen=True, eq=False)
class _Caches:
    """`LayerCaches`."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    key_scales: tuple[Tensor, ...] = ()
    value_scales: tuple[Tensor, ...] = ()


def _make(case: DecoderCase, draw: Draw) -> Call:
    used, batch = (scattered_blocks if case.paged else separate_runs)(case.attention, draw)
    slots = _last_slots(case.attention, batch, draw.device)
    used.view(-1)[slots] = False  # the step writes them
    cache = _caches(case, draw, used)
    positions = torch.tensor(case.attention.kv_lengths, device=draw.device) - 1
    token_ids = draw.integers(0, case.vocab, case.tokens)
    logit_rows = draw.permutation(case.tokens)[: case.rows]
    kept = {
        "token_ids": token_ids,
        "positions": positions,
        "slot_mapping": slots,
        "logit_rows": logit_rows,
    }
    if isinstance(batch, PagedBatch):
        kept["block_tables"] = batch.block_tables
    return Call(
        (token_ids, positions, cache, batch, slots, logit_rows, case.argmax_only),
        (_weights(case, draw),),
        kept,
        written={
            f"{part} of layer {index}": one
            for part, layers in vars(cache).items()
            for index, one in enumerate(layers)
        },
        asks=(cache, batch, case.rows),
    )


def _last_slots(case: AttentionCase, batch: AttentionBatch, device: torch.device) -> Tensor:
    """Where the key and value of each sequence's last token belong, int64 [sequences]."""
    last = torch.tensor(case.kv_lengths, device=device) - 1
    if not isinstance(batch, PagedBatch):
        return torch.tensor(batch.starts, device=device) + last
    blocks = batch.block_tables.gather(1, (last // case.block_size)[:, None])[:, 0]
    return blocks * case.block_size + last % case.block_size


def _caches(case: DecoderCase, draw: Draw, used: Tensor) -> _Caches:
    """Of every layer [*slots, kv_heads, head_dim], poisoned where no token is."""
    shape = (*used.shape, case.attention.kv_heads, case.attention.head_dim)
    if case.codes is not None:
        layers = [filled_kv(draw, shape, used, case.codes) for _ in range(case.layers)]
        return _Caches(*zip(*(vars(one).values() for one in layers), strict=True))

    def plain() -> Tensor:
        cache = draw.normal(*shape)
        cache[~used] = float("nan")
        return cache

    keys, values = (tuple(plain() for _ in range(case.layers)) for _ in range(2))
    return _Caches(keys, values)


def _weights(case: DecoderCase, draw: Draw) -> DecoderWeights:
    head_dim = case.attention.head_dim
    cos, sin = draw.angles(max(case.attention.kv_lengths), head_dim)
    return DecoderWeights(
        embedding=draw.normal(case.vocab, case.hidden),
        cos=cos,
        sin=sin,
        layers=[_layer(case, draw) for _ in range(case.layers)],
        norm=_norm(draw, case.hidden),
        lm_head=_MAPS[case.kind](case, draw, case.vocab, case.hidden, None),
        num_heads=case.attention.kv_heads * case.attention.group,
        num_kv_heads=case.attention.kv_heads,
        head_dim=head_dim,
        rms_norm_eps=case.eps,
        window=case.attention.window,
    )


def _layer(case: DecoderCase, draw: Draw) -> DecoderLayer:
    head_dim = case.attention.head_dim

    def linear(name: str) -> LinearMap:
        n, k = case.maps[name]
        return _MAPS[case.kind](case, draw, n, k, draw.normal(n) if case.bias else None)

    return DecoderLayer(
        input_norm=_norm(draw, case.hidden),
        qkv=linear("qkv"),
        q_norm=_norm(draw, head_dim) if case.qk_norm else None,
        k_norm=_norm(draw, head_dim) if case.qk_norm else None,
        o=linear("o"),
        post_norm=_norm(draw, case.hidden),
        gate_up=linear("gate_up"),
        down=linear("down"),
    )


def _norm(draw: Draw, size: int) -> Tensor:
    return (1 + 0.3 * draw.normal(size, dtype=torch.float32)).to(draw.dtype)


def _dense(_case: DecoderCase, draw: Draw, n: int, k: int, bias: Tensor | None) -> LinearMap:
    weight = (draw.normal(n, k, dtype=torch.float32) / k**0.5).to(draw.dtype)
    return _made("linear", draw)(weight, bias, draw.dtype)


def _int8(_case: DecoderCase, draw: Draw, n: int, k: int, bias: Tensor | None) -> LinearMap:
    weight = W8A8Weight(*quantize_rows(draw.normal(n, k, dtype=torch.float32) / k**0.5))
    return _made("w8a8_linear", draw)(weight, bias, draw.dtype)


def _int4(case: DecoderCase, draw: Draw, n: int, k: int, bias: Tensor | None) -> LinearMap:
    groups = k // case.group_size
    scales = (0.02 * (1 + draw.uniform(n, groups))).half()
    codes, zeros = draw.integers(0, 16, n, k), draw.integers(0, 16, n, groups)
    weight = pack_int4(codes, scales, zeros, case.group_size)
    op = "w4a8_linear" if case.kind == "int4 by int8" else "w4a16_linear"
    return _made(op, draw)(weight, bias, draw.dtype)


def _made(op: str, draw: Draw) -> Callable[..., LinearMap]:
    """By whom the steps are computed, for each packs weights in an order of its own; else by the
    device's first."""
    named = [one for one in implementations(op) if one.name == draw.backend]
    force = {op: draw.backend} if named else None
    return select(op, draw.device, draw.dtype, force).function


# What the device's own operations would be given: a fused step reads the weights that they packed.
_MAPS: dict[Kind, Callable[[DecoderCase, Draw, int, int, Tensor | None], LinearMap]] = {
    "dense": _dense,
    "int8": _int8,
    "int4": _int4,
    "int4 by int8": _int4,
}


def _compare(call: Call, name: str, actual: Tensor, expected: Tensor) -> Difference:
    """Logits, and what was written to the cache, by norm; of the cache the rest as it was."""
    if actual.shape != expected.shape:
        return near(actual, expected, TIMES_ONE_ROUNDING)
    if name == "result":
        return _compare_logits(actual, expected, argmax_only=call.arguments[-1])
    slots, count = call.kept["slot_mapping"], call.arguments[2].keys[0].shape[:-2].numel()
    ours, theirs = actual.view(count, -1), expected.view(count, -1)
    others = torch.ones(len(theirs), dtype=torch.bool, device=theirs.device)
    others[slots] = False
    untouched = exactly(ours[others], theirs[others])
    if untouched.problem is not None:
        return untouched
    # bfloat16 has a number for each code.
    wide = torch.bfloat16 if expected.dtype.itemsize == 1 else expected.dtype
    times = TIMES_ONE_ROUNDING_E4M3 if expected.dtype == E4M3 else TIMES_ONE_ROUNDING
    return near(ours[slots].to(wide), theirs[slots].to(wide), times)


def _compare_logits(actual: Tensor, expected: Tensor, *, argmax_only: bool) -> Difference:
    """By norm; where the argmax alone is wanted, each row's largest, and those that are given."""
    if not argmax_only:
        return near(actual, expected, TIMES_ONE_ROUNDING)
    largest = near(actual.amax(1), expected.amax(1), TIMES_ONE_ROUNDING)
    if largest.problem is not None:
        return largest
    given = torch.where(actual == -torch.inf, expected, actual)
    return near(given, expected, TIMES_ONE_ROUNDING)


def _work(case: DecoderCase, dtype: torch.dtype) -> Work:
    """Every weight once, the embedding's rows, keys and values read and written, logits."""
    attention, tokens = case.attention, case.tokens
    parameters = case.layers * sum(n * k for n, k in case.maps.values())
    head = case.vocab * case.hidden
    norms = (2 * case.layers + 1) * case.hidden
    seen = sum(min(one, attention.window or one) for one in attention.kv_lengths)
    heads = attention.kv_heads * attention.group
    moved = nbytes(dtype, norms + tokens * case.hidden + case.rows * case.vocab)
    moved += 2 * case.layers * seen * attention.kv_heads * _head_bytes(case, dtype)
    moved += int((parameters + head) * _weight_bytes(case, dtype))
    products = 2 * (tokens * parameters + case.rows * head)
    return Work(moved, products + 4 * case.layers * seen * heads * attention.head_dim)


def _head_bytes(case: DecoderCase, dtype: torch.dtype) -> int:
    """Of a key or value in one head."""
    if case.codes is None:
        return case.attention.head_dim * dtype.itemsize
    return case.attention.head_dim + SCALE_DTYPE.itemsize


def _weight_bytes(case: DecoderCase, dtype: torch.dtype) -> float:
    """Of a weight, with its share of a group's scale and zero point."""
    if case.kind == "dense":
        return dtype.itemsize
    return 1 if case.kind == "int8" else 0.5 + 3 / case.group_size


DECODER_STEP = OpSpec(
    op="decoder_step",
    cases=CASES,
    tiny=("batch: one", "batch: eight, int8", "all of them: paged"),
    make=_make,
    work=_work,
    of_model=of_model,
    compare=_compare,
    dtypes=(torch.bfloat16,),
    reads_memory=True,
)
