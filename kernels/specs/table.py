"""The spec of each operation."""

from __future__ import annotations

from typing import Any

from ..registry import OPS, known
from . import activation, attention, cache, decoder, float_linear, linear, norm, rope, sampling
from .spec import OpSpec

_SPECS: tuple[OpSpec[Any], ...] = (
    attention.PAGED,
    attention.CONTIGUOUS,
    cache.CACHE_WRITE,
    attention.QUANTIZED_PAGED,
    attention.QUANTIZED_CONTIGUOUS,
    cache.QUANTIZED_CACHE_WRITE,
    norm.RMS_NORM,
    norm.ADD_RMS_NORM,
    rope.ROPE,
    rope.ROPE_CACHE_WRITE,
    activation.SILU_MUL,
    linear.LINEAR,
    linear.W8A8_LINEAR,
    float_linear.FP8_LINEAR,
    linear.W4A16_LINEAR,
    linear.W4A8_LINEAR,
    linear.W8A16_LINEAR,
    float_linear.FP4_LINEAR,
    decoder.DECODER_STEP,
    sampling.ARGMAX,
    sampling.SAMPLE,
)
SPECS: dict[str, OpSpec[Any]] = {spec.op: spec for spec in _SPECS}


def spec_of(op: str) -> OpSpec[Any]:
    """Raises KernelError for an unknown operation, and for one that has no spec."""
    known("operation", op, OPS)
    return SPECS[known("operation with a spec", op, SPECS)]
