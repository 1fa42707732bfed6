"""Triton's norm, rotation, gate and cache write: in the interpreter here, on a GPU where there is
one, and compiled for others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from llmbench.kernels.triton import activation, cache, norm, rope
from torch import Tensor

from .triton_checks import Checks, failures, report, triton_of
from .triton_launches import each_target, launches


def check_strides() -> None:
    """What is not contiguous, or not of whole rows, is read where it lies."""
    x = torch.randn(6, 2, 40)[:, 1]
    weight = torch.ones(40)
    assert torch.equal(
        triton_of("rms_norm").function(x, weight, 1e-5),
        triton_of("rms_norm").function(x.contiguous(), weight, 1e-5),
    )
    gate_up = torch.randn(6, 100)[:, 7:87]
    silu_mul = triton_of("silu_mul").function
    assert torch.equal(silu_mul(gate_up), silu_mul(gate_up.contiguous()))


def check_padding() -> None:
    """Tokens without a slot are not written, and their queries are rotated."""
    slots = torch.tensor([-1, 5, -1])
    qkv = torch.randn(3, 4, 16)
    caches = torch.full((2, 8, 1, 16), math.nan).unbind()
    triton_of("cache_write").function(qkv[:, 2:3], qkv[:, 3:], *caches, slots)
    assert _written(caches) == [5]
    caches = torch.full((2, 8, 1, 16), math.nan).unbind()
    ones, zeros = torch.ones(3, 8), torch.zeros(3, 8)
    q = triton_of("rope_cache_write").function(qkv, None, None, 0.0, ones, zeros, *caches, slots)
    assert torch.equal(q, qkv[:, :2])
    assert _written(caches) == [5]


def check_gates_far_from_zero() -> None:
    """A gate without a limit: silu(-1e4) is 0 and not NaN."""
    gate_up = torch.tensor([[-1e4, 1e4, -math.inf, 2.0, 3.0, 4.0]])
    result = triton_of("silu_mul").function(gate_up)[0].tolist()
    assert result[:2] == [0.0, 3e4]
    assert math.isnan(result[2])  # as -inf · 0 in the reference


def _written(caches: tuple[Tensor, ...]) -> list[int]:
    rows = [one.isfinite().flatten(1).all(1).nonzero()[:, 0].tolist() for one in caches]
    assert rows[0] == rows[1]
    return rows[0]


# Against the reference, `test_every_implementation` tries them.
CHECKS: Checks = {
    "strides": check_strides,
    "padding": check_padding,
    "gates far from zero": check_gates_far_from_zero,
}


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str]:
    return failures("test_triton_elementwise")


@pytest.mark.parametrize("name", CHECKS)
def test_interpreted(name: str, interpreted: dict[str, str]) -> None:
    assert interpreted[name] == ""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CHECKS)
def test_on_gpu(name: str) -> None:
    with torch.device("cuda"):
        CHECKS[name]()


def _half(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.bfloat16)


# An 8B model's shapes, and a head and a width that are no powers of two.
CALLS: dict[str, tuple[str, Callable[[], object]]] = {
    "rms_norm": (
        "norm_kernel.rms_norm_kernel",
        lambda: norm.rms_norm(_half(3, 576), _half(576), 1e-5),
    ),
    "add_rms_norm": (
        "norm_kernel.rms_norm_kernel",
        lambda: norm.add_rms_norm(_half(3, 4096), _half(3, 4096), _half(4096), 1e-5),
    ),
    "silu_mul": (
        "activation_kernel.silu_mul_kernel",
        lambda: activation.silu_mul(_half(3, 2 * 14336)),
    ),
    "cache_write": (
        "cache_kernel.cache_write_kernel",
        lambda: cache.cache_write(
            *(_half(3, 8, 128), _half(3, 8, 128), _half(64, 8, 128), _half(64, 8, 128)),
            torch.arange(3),
        ),
    ),
    "rope": (
        "rope_kernel.rope_kernel",
        lambda: rope.rope(_half(3, 9, 80), _half(3, 3, 80), _half(3, 40), _half(3, 40)),
    ),
    "rope_cache_write": (
        "rope_kernel.rope_cache_write_kernel",
        lambda: rope.rope_cache_write(
            *(_half(3, 48, 128), _half(128), _half(128), 1e-6, _half(3, 64), _half(3, 64)),
            *(_half(64, 8, 128), _half(64, 8, 128), torch.arange(3)),
        ),
    ),
}


@each_target
@pytest.mark.parametrize("op", CALLS)
def test_compiles(op: str, target: str) -> None:
    kernel, call = CALLS[op]
    with launches(kernel) as seen:
        call()
    (launch,) = seen
    assert launch.compile(target)


if __name__ == "__main__":
    report(CHECKS)
