"""Trying `cache_write` and `quantized_cache_write`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..quantized_kv import SCALE_DTYPE, QuantizedKV
from .closeness import Difference, exactly
from .rope import cache_shape, slots_of
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

E4M3 = torch.float8_e4m3fn
E4M3_NAN = 0x7F


@dataclass(frozen=True)
class WriteCase:
    """codes: of a quantised cache."""

    tokens: int
    kv_heads: int
    head_dim: int
    block_size: int | None = 4
    slots: int = 24
    codes: torch.dtype = torch.int8


def poisoned_kv(draw: Draw, shape: tuple[int, ...], codes: torch.dtype) -> QuantizedKV:
    """A cache in which every scale, and every code that can be, is NaN."""
    room = torch.full(shape, E4M3_NAN, dtype=torch.uint8, device=draw.device).view(codes)
    scales = draw.poison(*shape[:-1], dtype=SCALE_DTYPE)
    return QuantizedKV(room, room.clone(), scales, scales.clone())


def _make_write(case: WriteCase, draw: Draw) -> Call:
    # As a model has them: views of a fused projection.
    fused = draw.normal(case.tokens, 3 * case.kv_heads, case.head_dim)
    k, v = fused[:, case.kv_heads : 2 * case.kv_heads], fused[:, 2 * case.kv_heads :]
    shape = cache_shape(case.slots, case.block_size, case.kv_heads, case.head_dim)
    k_cache, v_cache = draw.poison(*shape), draw.poison(*shape)
    slots = draw.permutation(case.slots)[: case.tokens].contiguous()
    return Call(
        (k, v, k_cache, v_cache, slots),
        kept={"k and v": fused, "slot_mapping": slots},
        written={"k_cache": k_cache, "v_cache": v_cache},
    )


def _make_quantized_write(case: WriteCase, draw: Draw) -> Call:
    # Sizes span what e4m3 has no normal numbers for; the first head is zero.
    sizes = 10 ** (6 * draw.uniform(case.tokens, 2 * case.kv_heads, case.head_dim) - 3)
    fused = (draw.normal(*sizes.shape, dtype=torch.float32) * sizes).to(draw.dtype)
    if case.tokens:
        fused[0, 0] = 0
    k, v = fused[:, : case.kv_heads].contiguous(), fused[:, case.kv_heads :]
    shape = cache_shape(case.slots, case.block_size, case.kv_heads, case.head_dim)
    cache = poisoned_kv(draw, shape, case.codes)
    slots = draw.permutation(case.slots)[: case.tokens].contiguous()
    return Call(
        (k, v, cache, slots),
        kept={"k": k, "v": fused, "slot_mapping": slots},
        written=dict(vars(cache)),
    )


def _compare(_call: Call, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    """Numbers are copied, or rounded once by a rule that leaves no choice."""
    return exactly(actual, expected)


def _write_work(case: WriteCase, dtype: torch.dtype) -> Work:
    elements = 2 * case.tokens * case.kv_heads * case.head_dim
    return Work(nbytes(dtype, 2 * elements) + 8 * case.tokens, 0)


def _quantized_write_work(case: WriteCase, dtype: torch.dtype) -> Work:
    elements = 2 * case.tokens * case.kv_heads * case.head_dim
    scales = nbytes(SCALE_DTYPE, elements // case.head_dim)
    return Work(nbytes(dtype, elements) + elements + scales + 8 * case.tokens, 0)


def _of_model(model: ModelShape, step: StepShape) -> dict[str, WriteCase]:
    return {
        "kv": WriteCase(
            step.tokens, model.kv_heads, model.head_dim, step.block_size, slots_of(step)
        )
    }


_SHAPES = {
    "head: of 64": WriteCase(7, 2, 64),
    "head: of 80": WriteCase(1, 1, 80, block_size=1),
    "head: of 96": WriteCase(3, 3, 96, block_size=16, slots=48),
    "head: of 128": WriteCase(16, 4, 128, block_size=32, slots=64),
    "head: of 256": WriteCase(2, 1, 256, block_size=None),
    "head: of 20": WriteCase(5, 1, 20),
    "tokens: none": WriteCase(0, 2, 64),
    "tokens: every slot": WriteCase(24, 2, 64, block_size=None),
    "tokens: of a prompt": WriteCase(600, 1, 20, block_size=16, slots=700),
}
_TINY = ("head: of 64", "head: of 80", "head: of 20", "tokens: none")

CACHE_WRITE = OpSpec(
    op="cache_write",
    cases=_SHAPES,
    tiny=_TINY,
    make=_make_write,
    work=_write_work,
    of_model=_of_model,
    compare=_compare,
)
QUANTIZED_CACHE_WRITE = OpSpec(
    op="quantized_cache_write",
    cases={
        f"{name}, {kind}": WriteCase(**{**vars(case), "codes": codes})
        for name, case in _SHAPES.items()
        for kind, codes in (("int8", torch.int8), ("fp8", E4M3))
    },
    tiny=tuple(f"{name}, int8" for name in _TINY),
    make=_make_quantized_write,
    work=_quantized_write_work,
    of_model=_of_model,
    compare=_compare,
)
