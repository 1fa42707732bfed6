"""Memory for weights and caches: whole, apart, zeroed, and advised to be of huge pages."""

from __future__ import annotations

import gc

import pytest
import torch
from llmbench.kernels.huge_pages import PAGE_BYTES, PIECE_BYTES, HugePages, populate

from .mappings import flags_of, linux_with_huge_pages, pages_given


def test_tensors_lie_apart_on_lines_of_their_own() -> None:
    pages = HugePages()
    shapes = [(3,), (5, 7), (1,), (2, 64), (1000,)]
    made = [pages.zeros(shape, torch.int16) for shape in shapes]
    for index, one in enumerate(made):
        assert one.is_contiguous()
        assert one.data_ptr() % 64 == 0
        assert not one.any()
        one.fill_(index + 1)
    for index, one in enumerate(made):
        assert (one == index + 1).all()
    starts = [one.data_ptr() for one in made]
    assert starts == sorted(starts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8, torch.float32])
def test_a_copy_has_the_elements_and_not_the_strides(dtype: torch.dtype) -> None:
    source = torch.randint(-100, 100, (6, 10)).to(dtype).t()
    copied = HugePages().copy(source)
    assert copied.is_contiguous()
    assert torch.equal(copied, source)
    assert copied.data_ptr() != source.data_ptr()


def test_nothing_is_an_empty_tensor() -> None:
    assert HugePages().zeros((0, 4), torch.float32).shape == (0, 4)


def test_what_does_not_fit_begins_a_piece_that_does() -> None:
    pages = HugePages()
    small = pages.zeros((10,), torch.uint8)
    large = pages.zeros((PIECE_BYTES + 1,), torch.uint8)
    large[-1] = 7
    small.fill_(3)
    assert large[-1] == 7
    assert not large[:10].any()


def test_a_tensor_outlives_who_handed_it_out() -> None:
    pages = HugePages()
    kept = pages.copy(torch.arange(1000))
    del pages
    gc.collect()
    assert torch.equal(kept, torch.arange(1000))


@linux_with_huge_pages
def test_linux_is_told() -> None:
    assert "hg" in flags_of(HugePages().zeros((100,), torch.uint8))


@linux_with_huge_pages
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_who_writes_to_populated_memory_waits_for_no_page(dtype: torch.dtype) -> None:
    shape = (8 * PAGE_BYTES // 64, 64)  # with halves of 2 bytes 16 huge pages, with bytes 8
    lazy, there = HugePages().zeros(shape, dtype), populate(HugePages().zeros(shape, dtype))
    assert pages_given(lambda: lazy.view(torch.uint8).fill_(1)) >= 8
    assert pages_given(lambda: there.view(torch.uint8).fill_(1)) < 8
    assert there.shape == shape


def test_populated_memory_is_zero() -> None:
    assert not populate(torch.zeros(100_000, dtype=torch.int32)).any()
