"""Moves of keys and values, on real tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.executors.moves import allocate_host, carry_out
from llmbench.engines.kv.base import Move
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.kv_tensors import allocate_paged
from llmbench.engines.models.loader import load_config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...kernels.mappings import linux_with_huge_pages, pages_given

UNITS, HOST = 6, 4


def tensors(units: int, first: int = 0) -> list[Tensor]:
    """Two tensors whose every unit has a number of its own."""
    values = torch.arange(first, first + units, dtype=torch.float32)
    return [values[:, None].repeat(1, 3).contiguous(), -values.clone()]


def held(tensors: list[Tensor]) -> list[int]:
    """What each unit holds; the same in both tensors."""
    rows, flat = tensors
    assert torch.equal(rows, -flat[:, None].repeat(1, 3))
    return [int(value) for value in rows[:, 0]]


def test_a_copy_leaves_the_source_as_it_is() -> None:
    cache = tensors(UNITS)
    carry_out([Move("copy", 1, 4, 2)], cache, [])
    assert held(cache) == [0, 1, 2, 3, 1, 2]


def test_out_and_in_bring_the_same_back() -> None:
    cache, host = tensors(UNITS), tensors(HOST, 100)
    carry_out([Move("out", 2, 1), Move("out", 5, 0)], cache, host)
    assert held(host) == [5, 2, 102, 103]
    carry_out([Move("in", 1, 0), Move("in", 0, 3)], cache, host)
    assert held(cache) == [2, 1, 2, 5, 4, 5]


class _Copies(TorchDispatchMode):
    """Notes what is copied and how; nothing may be gathered, scattered or moved by another way."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[tuple[int, ...], bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.copy_.default:
            waits_not = args[2] if len(args) > 2 else (kwargs or {}).get("non_blocking", False)
            self.seen.append((tuple(args[0].shape), waits_not))
        else:
            assert func.overloadpacket in (torch.ops.aten.slice, torch.ops.aten.view)
        return func(*args, **(kwargs or {}))


def test_neighbours_are_swapped_by_one_copy_a_tensor_that_nobody_waits_for() -> None:
    cache, host = tensors(UNITS), tensors(HOST, 100)
    # Units 1 to 3 to the places 0 to 2, in whatever order; 5 has no neighbour among them.
    with _Copies() as copies:
        carry_out([Move("out", 2, 1, 2), Move("out", 1, 0), Move("out", 5, 3)], cache, host)
    assert copies.seen == [((3, 3), True), ((1, 3), True), ((3,), True), ((1,), True)]
    assert held(host) == [1, 2, 3, 5]
    with _Copies() as copies:
        carry_out([Move("in", 0, 4), Move("in", 1, 5), Move("in", 2, 0)], cache, host)
    assert copies.seen == [((1, 3), True), ((2, 3), True), ((1,), True), ((2,), True)]
    assert held(cache) == [3, 1, 2, 3, 1, 2]


def test_a_later_move_may_overwrite_what_an_earlier_one_read() -> None:
    cache, host = tensors(UNITS), tensors(HOST, 100)
    # Block 0 goes out, is taken for a copy of block 1, and 1 for what comes in.
    carry_out([Move("out", 0, 0), Move("copy", 1, 0), Move("in", 3, 1)], cache, host)
    assert held(host)[0] == 0
    assert held(cache)[:2] == [1, 103]


def test_only_what_goes_to_the_host_or_comes_back_is_swapping() -> None:
    """A copy on write is no preemption, whatever it is carried out beside."""
    cache, host = tensors(UNITS), tensors(HOST, 100)
    assert carry_out([], cache, host) == 0.0
    assert carry_out([Move("copy", 0, 1), Move("copy", 1, 2)], cache, host) == 0.0
    assert carry_out([Move("copy", 0, 1), Move("out", 0, 0)], cache, host) > 0
    assert carry_out([Move("in", 0, 0), Move("copy", 0, 1)], cache, host) > 0


def test_a_chain_of_copies_is_carried_out_in_order() -> None:
    cache = tensors(UNITS)
    carry_out([Move("copy", 0, 1), Move("copy", 1, 2), Move("copy", 2, 0)], cache, [])
    assert held(cache) == [0, 0, 0, 3, 4, 5]


def any_move(kind: str, sources: int, targets: int) -> st.SearchStrategy[Move]:
    """One unit, or two in a row."""
    return st.builds(
        Move,
        st.just(kind),
        st.integers(0, sources - 2),
        st.integers(0, targets - 2),
        st.integers(1, 2),
    )


moves = st.one_of(
    any_move("copy", UNITS, UNITS), any_move("out", UNITS, HOST), any_move("in", HOST, UNITS)
)


@settings(max_examples=150, deadline=None)
@given(todo=st.lists(moves, max_size=8))
def test_any_moves_are_the_same_as_one_after_the_other(todo: list[Move]) -> None:
    """Overlapping ones too: several into one unit, one unit read and written."""
    cache, host = tensors(UNITS), tensors(HOST, 100)
    here, there = list(range(UNITS)), list(range(100, 100 + HOST))
    for kind, source, target, length in todo:
        read, write = (there if kind == "in" else here), (there if kind == "out" else here)
        for offset in range(length):
            write[target + offset] = read[source + offset]
    carry_out(todo, cache, host)
    assert (held(cache), held(host)) == (here, there)


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_config(resolve_model("bundled").directory)


@pytest.mark.parametrize("kv_dtype", ["auto", "int8", "fp8"])
def test_all_that_a_cache_is_made_of_moves(config: ModelConfig, kv_dtype: str) -> None:
    """Codes without their scales would be other numbers."""
    kv = allocate_paged(config, 3, 4, torch.float32, torch.device("cpu"), kv_dtype)
    parts = [*kv.keys, *kv.values, *kv.key_scales, *kv.value_scales]
    for number, part in enumerate(parts):
        part[1] = torch.full(part.shape[1:], number + 1).to(part.dtype)
    host = allocate_host(kv.tensors, 2)
    carry_out([Move("copy", 1, 2), Move("out", 1, 0), Move("in", 0, 0)], kv.tensors, host)
    for number, part in enumerate(parts):
        wanted = torch.full(part.shape[1:], number + 1).to(part.dtype).float()
        assert torch.equal(part[2].float(), wanted)
        assert torch.equal(part[0].float(), wanted)


class _NoCodesByIndex(TorchDispatchMode):
    """A PyTorch that moves no e4m3 by index, as some do not on a CPU or a GPU (issue 169656)."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_):
            assert args[0].dtype != torch.float8_e4m3fn
        return func(*args, **(kwargs or {}))


def test_codes_are_moved_as_bytes() -> None:
    def codes(units: int, first: int) -> list[Tensor]:
        numbers = torch.arange(first, first + units, dtype=torch.uint8)
        return [numbers[:, None].repeat(1, 3).view(torch.float8_e4m3fn)]

    cache, host = codes(UNITS, 0), codes(HOST, 50)
    with _NoCodesByIndex():
        carry_out([Move("out", 2, 1), Move("copy", 1, 4), Move("in", 3, 0)], cache, host)
        carry_out([Move("copy", 4, 5), Move("copy", 5, 3)], cache, host)
    assert host[0].view(torch.uint8)[:, 0].tolist() == [50, 2, 52, 53]
    assert cache[0].view(torch.uint8)[:, 0].tolist() == [53, 1, 2, 1, 1, 1]


@linux_with_huge_pages
@pytest.mark.parametrize("populated", [True, False])
def test_the_hosts_room_is_taken_only_where_that_is_said(populated: bool) -> None:
    """Most runs swap nothing, and a pool as large as the cache's would be for nothing."""
    unit, count = (2**20,), 64
    cache = [torch.zeros(1, *unit, dtype=torch.int8)]
    rooms: list[Tensor] = []
    taken = pages_given(lambda: rooms.extend(allocate_host(cache, count, populated=populated)))
    later = pages_given(lambda: rooms[0].fill_(1))
    assert (taken > later) is populated
    assert (taken + later) >= 32
