"""Trying `rope` and `rope_cache_write`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

SLOTS = 64
EPS = 1e-6
# Of numbers so small that it decides: their mean square is 1e-6.
SMALL, SMALL_EPS = 1e-3, 3e-6


@dataclass(frozen=True)
class RopeCase:
    """block_size: of a paged cache of `slots` tokens; None: a contiguous one. normed: queries and
    keys are, before they are turned, by eps. deviation: of what is given."""

    tokens: int
    group: int
    head_dim: int
    kv_heads: int = 2
    block_size: int | None = 4
    slots: int = SLOTS
    normed: bool = False
    deviation: float = 1.0
    eps: float = EPS

    @property
    def heads(self) -> int:
        """Of queries, keys and values together."""
        return (self.group + 2) * self.kv_heads


def cache_shape(
    slots: int, block_size: int | None, kv_heads: int, head_dim: int
) -> tuple[int, ...]:
    """Of a cache for so many tokens, in blocks or in a row."""
    if block_size is None:
        return (slots, kv_heads, head_dim)
    return (-(-slots // block_size), block_size, kv_heads, head_dim)


def slots_of(step: StepShape) -> int:
    """Of a cache that a step writes to: ten times as many as a prompt has tokens, and ten times as
    many blocks as there are sequences, whose tokens lie apart."""
    return 10 * (step.prompt or step.batch * step.block_size)


def _make_rope(case: RopeCase, draw: Draw) -> Call:
    fused = draw.normal(case.tokens, case.heads, case.head_dim)
    queries = case.group * case.kv_heads
    q, k = fused[:, :queries], fused[:, queries : queries + case.kv_heads]
    cos, sin = draw.angles(case.tokens, case.head_dim)
    return Call((q, k, cos, sin), kept={"q and k": fused, "cos": cos, "sin": sin})


def _make_rope_cache_write(case: RopeCase, draw: Draw) -> Call:
    drawn = draw.normal(case.tokens, case.heads, case.head_dim)
    qkv = draw.beside_poison(case.deviation * drawn)
    norms = [draw.normal(case.head_dim) if case.normed else None for _ in range(2)]
    cos, sin = draw.angles(case.tokens, case.head_dim)
    shape = cache_shape(case.slots, case.block_size, case.kv_heads, case.head_dim)
    k_cache, v_cache = draw.poison(*shape), draw.poison(*shape)
    slots = draw.permutation(case.slots)[: case.tokens].contiguous()
    # qkv may be turned where it lies: nobody reads it again.
    return Call(
        (qkv, *norms, case.eps, cos, sin, k_cache, v_cache, slots),
        kept={"cos": cos, "sin": sin, "slot_mapping": slots},
        written={"k_cache": k_cache, "v_cache": v_cache},
    )


def _rope_work(case: RopeCase, dtype: torch.dtype) -> Work:
    elements = case.tokens * (case.group + 1) * case.kv_heads * case.head_dim
    return Work(nbytes(dtype, 2 * elements, case.tokens * case.head_dim), 0)


def _rope_cache_write_work(case: RopeCase, dtype: torch.dtype) -> Work:
    elements = case.tokens * case.heads * case.head_dim
    tables = nbytes(dtype, case.tokens * case.head_dim) + 8 * case.tokens
    return Work(nbytes(dtype, 2 * elements) + tables, 0)


def _of_model(model: ModelShape, step: StepShape) -> dict[str, RopeCase]:
    return {
        "qkv": RopeCase(
            step.tokens,
            model.heads // model.kv_heads,
            model.head_dim,
            model.kv_heads,
            step.block_size,
            slots=slots_of(step),
            normed=model.qk_norm,
        )
    }


_SHAPES = {
    "head: of 64": RopeCase(1, 3, 64),
    "head: of 80": RopeCase(5, 1, 80, block_size=1),
    "head: of 96": RopeCase(3, 8, 96, block_size=16),
    "head: of 128": RopeCase(2, 4, 128, block_size=32),
    "head: of 256": RopeCase(4, 1, 256),
    "head: of 20": RopeCase(2, 2, 20, kv_heads=1),
    "tokens: none": RopeCase(0, 3, 64),
    "tokens: many": RopeCase(40, 3, 64, kv_heads=3),
    "tokens: of a prompt": RopeCase(600, 2, 20, kv_heads=1, block_size=16, slots=700),
    "tokens: 70": RopeCase(70, 1, 20, kv_heads=1, slots=80),
    "cache: contiguous": RopeCase(5, 3, 64, block_size=None),
}
_NORMED = {
    "normed: head of 128": RopeCase(3, 4, 128, normed=True),
    "normed: head of 64, contiguous": RopeCase(5, 2, 64, block_size=None, normed=True),
    "normed: head of 80, small numbers": RopeCase(
        1, 1, 80, block_size=1, normed=True, deviation=SMALL, eps=SMALL_EPS
    ),
}
_TINY = ("head: of 64", "head: of 80", "tokens: none", "tokens: 70")

ROPE = OpSpec(
    op="rope",
    cases={name: case for name, case in _SHAPES.items() if not name.startswith("cache")},
    tiny=(*_TINY, "head: of 20"),
    make=_make_rope,
    work=_rope_work,
    of_model=_of_model,
)
ROPE_CACHE_WRITE = OpSpec(
    op="rope_cache_write",
    cases=_SHAPES | _NORMED,
    tiny=(*_TINY, "cache: contiguous", "normed: head of 80, small numbers"),
    make=_make_rope_cache_write,
    work=_rope_cache_write_work,
    of_model=_of_model,
)
