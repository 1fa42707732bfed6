"""Small decoders with random weights, and decodes over a cache of earlier tokens."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from llmbench.kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from llmbench.kernels.decoder import DecoderLayer, DecoderWeights, LinearMap
from llmbench.kernels.fp4 import quantize_nvfp4
from llmbench.kernels.fp8 import quantize_fp8
from llmbench.kernels.grouped_int8 import GroupedInt8
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.quantized_kv import QuantizedKV
from llmbench.kernels.reference.quantized_kv import quantize
from llmbench.kernels.registry import implementations
from llmbench.kernels.w8a8 import W8A8Weight, quantize_rows
from torch import Tensor

CPU, BF16 = torch.device("cpu"), torch.bfloat16
BLOCK, ROOM, VOCAB, HIDDEN, INTERMEDIATE, LAYERS, GROUP = 4, 24, 83, 80, 48, 2, 16
INT8, E4M3 = torch.int8, torch.float8_e4m3fn
FUSED = [
    one
    for one in implementations("decoder_step")
    if one.name != "reference" and one.when(CPU, BF16)
]


@dataclass(frozen=True)
class Shape:
    kv_heads: int
    group: int
    head_dim: int
    qk_norm: bool = False
    bias: bool = False
    window: int | None = None


SHAPES = {
    "plain": Shape(2, 3, 64),
    "qk-norm": Shape(1, 4, 128, qk_norm=True),
    "bias": Shape(3, 1, 80, bias=True),
    "window": Shape(2, 3, 64, window=5),
    "all": Shape(1, 3, 16, qk_norm=True, bias=True, window=7),
}


# (out_features, in_features, with a bias) -> a linear map.
MakeMap = Callable[[int, int, bool], LinearMap]


def maps(kind: str, backend: str) -> MakeMap:
    """Random maps of one kind by one backend; `mixed`: each of a random kind."""

    def make(n: int, k: int, with_bias: bool) -> LinearMap:
        kinds = ["dense", "int8", "int4", "int4 by int8", "grouped int8", "fp8", "nvfp4"]
        chosen = random.choice(kinds) if kind == "mixed" else kind
        weight = torch.randn(n, k) / math.sqrt(k)
        bias = torch.randn(n).to(BF16) if with_bias else None
        if chosen == "dense":
            return of("linear", backend)(weight.to(BF16), bias, BF16)
        if chosen == "int8":
            return of("w8a8_linear", backend)(W8A8Weight(*quantize_rows(weight)), bias, BF16)
        if chosen == "fp8":
            return of("fp8_linear", backend)(quantize_fp8(weight), bias, BF16)
        if chosen == "nvfp4":
            return of("fp4_linear", backend)(quantize_nvfp4(weight), bias, BF16)
        if chosen == "grouped int8":
            zeros = torch.randint(256, (n, k // GROUP)).byte()
            scales = 0.0006 * (1 + torch.rand(n, k // GROUP))
            codes = torch.randint(256, (n, k)).byte()
            weight = GroupedInt8(codes, scales, zeros, GROUP)
            return of("w8a16_linear", backend)(weight, bias, BF16)
        shape = (n, k // GROUP)
        scales = (0.02 * (1 + torch.rand(shape))).to(torch.float16)
        codes, zeros = torch.randint(16, (n, k)), torch.randint(16, shape)
        op = "w4a8_linear" if chosen == "int4 by int8" else "w4a16_linear"
        return of(op, backend)(pack_int4(codes, scales, zeros, GROUP), bias, BF16)

    return make


def random_weights(shape: Shape, make: MakeMap, lm_head: LinearMap | None = None) -> DecoderWeights:
    """lm_head: in the place of one that is made."""
    heads = shape.kv_heads * shape.group
    angles = torch.outer(torch.arange(ROOM).float(), torch.rand(shape.head_dim // 2))

    def norm(size: int) -> Tensor:
        return (1 + 0.3 * torch.randn(size)).to(BF16)

    def layer() -> DecoderLayer:
        q_size = heads * shape.head_dim
        stacked = q_size + 2 * shape.kv_heads * shape.head_dim
        return DecoderLayer(
            input_norm=norm(HIDDEN),
            qkv=make(stacked, HIDDEN, shape.bias),
            q_norm=norm(shape.head_dim) if shape.qk_norm else None,
            k_norm=norm(shape.head_dim) if shape.qk_norm else None,
            o=make(HIDDEN, q_size, shape.bias),
            post_norm=norm(HIDDEN),
            gate_up=make(2 * INTERMEDIATE, HIDDEN, shape.bias),
            down=make(HIDDEN, INTERMEDIATE, shape.bias),
        )

    return DecoderWeights(
        embedding=torch.randn(VOCAB, HIDDEN).to(BF16),
        cos=angles.cos().to(BF16),
        sin=angles.sin().to(BF16),
        layers=[layer() for _ in range(LAYERS)],
        norm=norm(HIDDEN),
        lm_head=make(VOCAB, HIDDEN, False) if lm_head is None else lm_head,
        num_heads=heads,
        num_kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=1e-5,
        window=shape.window,
    )


@dataclass(frozen=True)
class Cache:
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    key_scales: tuple[Tensor, ...] = ()
    value_scales: tuple[Tensor, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.keys + self.values + self.key_scales + self.value_scales

    def changed(self, change: Callable[[Tensor], Tensor]) -> Cache:
        return Cache(*(tuple(map(change, part)) for part in vars(self).values()))

    def quantized(self, layer: int) -> QuantizedKV:
        """The layer's codes and scales."""
        return QuantizedKV(*(part[layer] for part in vars(self).values()))


@dataclass(frozen=True)
class Call:
    """Decodes over a cache of earlier tokens; what no token has been written to is NaN, or has a
    scale that is."""

    token_ids: Tensor
    positions: Tensor
    cache: Cache
    batch: AttentionBatch
    slot_mapping: Tensor
    logit_rows: Tensor

    def run(
        self, step: Callable[..., Tensor], *, argmax_only: bool = False
    ) -> tuple[Tensor, Cache]:
        """Logits, and the cache as the step left it; this one's stays as it is."""
        cache = self.cache.changed(Tensor.clone)
        inputs = (self.token_ids, self.positions, cache, self.batch, self.slot_mapping)
        more = (argmax_only,) if argmax_only else ()
        return step(*inputs, self.logit_rows, *more), cache


def random_call(
    shape: Shape, layout: str, sequences: int, codes: torch.dtype | None = None
) -> Call:
    lengths = [random.randint(1, ROOM) for _ in range(sequences)]
    paged = layout == "paged"
    places = torch.randperm(sequences * (ROOM // BLOCK if paged else 1))
    tables = places.view(sequences, -1) if paged else (places * ROOM).view(sequences, 1)

    def slot(sequence: int, position: int) -> int:
        if not paged:
            return int(tables[sequence, 0]) + position
        return int(tables[sequence, position // BLOCK]) * BLOCK + position % BLOCK

    past = [slot(i, p) for i, length in enumerate(lengths) for p in range(length - 1)]
    rooms = (-1, BLOCK) if paged else (-1,)

    def tensor() -> Tensor:
        flat = torch.full((sequences * ROOM, shape.kv_heads, shape.head_dim), math.nan, dtype=BF16)
        flat[past] = torch.randn(len(past), *flat.shape[1:]).to(BF16)
        return flat.view(*rooms, *flat.shape[1:])

    def tensors() -> tuple[Tensor, ...]:
        return tuple(tensor() for _ in range(LAYERS))

    plain = Cache(tensors(), tensors())
    ones, known = (1,) * sequences, tuple(lengths)
    return Call(
        torch.randint(VOCAB, (sequences,)),
        torch.tensor(lengths) - 1,
        plain if codes is None else in_codes(plain, codes),
        PagedBatch(ones, known, tables)
        if paged
        else ContiguousBatch(ones, known, tuple(tables[:, 0].tolist())),
        torch.tensor([slot(i, length - 1) for i, length in enumerate(lengths)]),
        torch.randperm(sequences)[: max(1, sequences - 1)],
    )


def in_codes(cache: Cache, codes: torch.dtype) -> Cache:
    """The same in eight bits: a head of NaN has a scale that is NaN."""
    parts: list[tuple[Tensor, ...]] = []
    for part in (cache.keys, cache.values):
        parts += zip(*(quantize(one, codes) for one in part), strict=True)
    keys, key_scales, values, value_scales = parts
    return Cache(keys, values, key_scales, value_scales)


def of(op: str, backend: str) -> Callable[..., Any]:
    return next(one.function for one in implementations(op) if one.name == backend)


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype
    assert torch.equal(actual.view(torch.uint8), expected.view(torch.uint8))
