"""The rates of a machine, that a floor is made of; no value of them is asserted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from llmbench.kernels import rates
from llmbench.kernels.rates import Rates, far_memory, measure_rates
from llmbench.kernels.specs.spec import Work

from .mappings import flags_of, linux_with_huge_pages

CPU = torch.device("cpu")


@linux_with_huge_pages
def test_memory_is_read_from_such_pages_as_weights_lie_in() -> None:
    for tensor in far_memory(CPU, 2**20):
        assert tensor.nbytes == 2**19
        assert "hg" in flags_of(tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_every_rate_is_measured(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.FAR_BYTES, "cpu", 2**20)
    monkeypatch.setitem(rates.PRODUCT_EDGE, "cpu", 64)
    found = measure_rates(CPU, dtype)
    for rate in (found.memory_bytes_per_s, found.cache_bytes_per_s, found.flops_per_s):
        assert 0 < rate < math.inf
    assert found.cache_bytes_per_s >= found.memory_bytes_per_s


def test_a_gpu_s_small_copies_are_launched_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one they would time launches, and a cache would seem slower than memory."""
    made: list[int] = []

    def as_one(call: Callable[[], object], repeats: int) -> Callable[[], object]:
        made.append(repeats)
        return call

    monkeypatch.setattr(rates, "_as_one", as_one)
    monkeypatch.setattr(rates, "seconds", lambda _device, _call, repeats=1: 1.0 * repeats)
    copies: list[int] = []
    assert rates._best(torch.device("cuda"), lambda: copies.append(1), 40) == 1.0
    assert made == [40]
    assert rates._best(CPU, lambda: copies.append(1), 40) == 40.0
    assert made == [40]


def test_a_floor_is_the_longer_of_bytes_and_products() -> None:
    machine = Rates(100.0, 400.0, 1000.0, cache_bytes=10)
    work = Work(bytes_moved=200, flops=1000)
    assert machine.floor_s(work, cold=True) == 2.0
    assert machine.is_memory_bound(work, cold=True)
    assert machine.floor_s(work, cold=False) == 1.0
    assert not machine.is_memory_bound(work, cold=False)
