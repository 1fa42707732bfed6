"""Scratch that grows, and what becomes of the buffer before."""

from __future__ import annotations

import weakref

import pytest
import torch
from llmbench.kernels.scratch import scratch


@pytest.mark.parametrize(("device", "stays"), [("cpu", False), ("meta", True)])
def test_a_buffer_that_a_graph_may_know_stays(device: str, stays: bool) -> None:
    """A captured graph writes where it wrote when it was captured, whatever has grown since."""

    def room(size: int) -> torch.Tensor:
        found = scratch("test: grows", (size,), torch.float32, torch.device(device))
        assert found._base is not None
        return found._base

    first = weakref.ref(room(5))
    assert first() is room(8)
    assert len(room(9)) == 16
    assert (first() is not None) == stays
