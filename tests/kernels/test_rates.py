"""The rates of a machine, that a floor is made of; no value of them is asserted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from llmbench.kernels import rates
from llmbench.kernels.fp8 import E4M3
from llmbench.kernels.rates import NIBBLES, Rates, far_memory, measure_rates
from llmbench.kernels.specs.spec import Work

from .mappings import flags_of, linux_with_huge_pages

CPU = torch.device("cpu")


@linux_with_huge_pages
def test_memory_is_read_from_such_pages_as_weights_lie_in() -> None:
    for tensor in far_memory(CPU, 2**20):
        assert tensor.nbytes == 2**19
        assert "hg" in flags_of(tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, NIBBLES])
def test_every_rate_is_measured(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.FAR_BYTES, "cpu", 2**20)
    monkeypatch.setitem(rates.PRODUCT_EDGE, "cpu", 64)
    found = measure_rates(CPU, dtype)
    for rate in (found.memory_bytes_per_s, found.cache_bytes_per_s, found.flops_per_s):
        assert 0 < rate < math.inf
    assert found.cache_bytes_per_s >= found.memory_bytes_per_s


@pytest.mark.parametrize(("best", "faster"), [(9e9, True), (2e9, False)])
def test_a_cache_s_rate_is_the_best_of_thread_counts_and_sizes(
    best: float, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To start a second thread took longer than the copy: the cache's rate was memory's, always."""
    tried: set[tuple[int, int]] = set()

    def bandwidth(tensors: tuple[torch.Tensor, torch.Tensor]) -> float:
        both = sum(tensor.nbytes for tensor in tensors)
        if both == 2**20:  # memory
            return 3e9
        tried.add((torch.get_num_threads(), both))
        return best if (torch.get_num_threads(), both) == (1, 2**21) else 1e9

    monkeypatch.setitem(rates.FAR_BYTES, "cpu", 2**20)
    monkeypatch.setattr(rates, "_bandwidth", bandwidth)
    monkeypatch.setattr(rates, "_flops", lambda _device, _dtype: 1e9)
    monkeypatch.setattr(rates, "last_level_cache_bytes", lambda _device: 2**25)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = measure_rates(CPU, torch.float32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert tried == {(threads, 2**size) for threads in (1, 2) for size in (19, 21, 23)}
    assert found.cache_bytes_per_s == max(best, 3e9)
    assert found.cache_is_faster is faster


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


@pytest.mark.parametrize(
    ("dtype", "its_s", "rate", "calls"),
    [
        # Emulated: float32's rate, and the product was made once.
        (torch.bfloat16, 0.9, 2 * 64**3 / 0.1, 1),
        (torch.int8, 2.8, 2 * 64**3 / 0.1, 1),
        # No faster than widening, which anybody could do.
        (torch.float16, 0.2, 2 * 64**3 / 0.1, 1 + 1 + rates.REPEATS),
        (torch.bfloat16, 0.025, 2 * 64**3 / 0.025, 1 + 1 + rates.REPEATS),
        (torch.float32, 0.1, 2 * 64**3 / 0.1, 1 + rates.REPEATS),
    ],
)
def test_no_dtype_of_a_cpu_is_slower_than_widening_it(
    dtype: torch.dtype, its_s: float, rate: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor without bfloat16 arithmetic a step took 4 times less than its "floor"."""
    monkeypatch.setitem(rates.PRODUCT_EDGE, "cpu", 64)
    of: dict[Callable[[], object], torch.dtype] = {}
    made: list[torch.dtype] = []

    def product(_device: torch.device, asked: torch.dtype) -> Callable[[], object]:
        def multiply() -> None:
            made.append(asked)

        of[multiply] = asked
        return multiply

    def seconds(_device: torch.device, call: Callable[[], object], _repeats: int = 1) -> float:
        call()
        return its_s if of[call] == dtype else 0.1

    monkeypatch.setattr(rates, "_product", product)
    monkeypatch.setattr(rates, "seconds", seconds)
    assert rates._flops(CPU, dtype) == pytest.approx(rate)
    assert made.count(dtype) == calls


def test_a_floor_is_the_longer_of_bytes_and_products() -> None:
    machine = Rates(100.0, 400.0, 1000.0, cache_bytes=10)
    work = Work(bytes_moved=200, flops=1000)
    assert machine.floor_s(work, cold=True) == 2.0
    assert machine.is_memory_bound(work, cold=True)
    assert machine.floor_s(work, cold=False) == 1.0
    assert not machine.is_memory_bound(work, cold=False)


@pytest.mark.parametrize(
    ("device", "has_e4m3", "asked", "multiplied"),
    [
        ("cpu", False, torch.int8, torch.int8),
        ("cpu", False, NIBBLES, NIBBLES),
        ("cuda", True, NIBBLES, torch.int8),
        ("cuda", True, E4M3, E4M3),
        ("cuda", False, E4M3, torch.bfloat16),
        ("cpu", False, E4M3, torch.bfloat16),
    ],
)
def test_what_a_device_lacks_is_multiplied_in_what_it_has(
    device: str,
    has_e4m3: bool,
    asked: torch.dtype,
    multiplied: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "multiplies_e4m3", lambda _: has_e4m3)
    where = torch.device(device)
    assert rates.multiplied_on(where, asked, torch.bfloat16) == multiplied
    if asked == E4M3:  # whose products have 14 bits, less than float32 is held to
        assert rates.multiplied_on(where, asked, torch.float32) == torch.float32
