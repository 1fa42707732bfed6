from __future__ import annotations

import secrets
import weakref

import pytest
import torch
from llmbench.kernels import scratch as home
from llmbench.kernels.scratch import scratch

CPU = torch.device("cpu")


def test_calls_share_memory_until_one_needs_more() -> None:
    use = secrets.token_hex(8)
    first = scratch(use, (3, 5), torch.float32, CPU)
    assert first.shape == (3, 5)
    assert scratch(use, (16,), torch.float32, CPU).data_ptr() == first.data_ptr()
    assert scratch(use, (17,), torch.float32, CPU).data_ptr() != first.data_ptr()
    assert scratch(use, (3, 5), torch.float16, CPU).data_ptr() != first.data_ptr()


@pytest.mark.parametrize("captured", [False, True])
def test_what_a_graph_was_captured_with_outlives_a_larger_call(
    captured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay writes by address: memory that had been given back would be somebody else's."""
    use = secrets.token_hex(8)
    monkeypatch.setattr(home, "_in_graphs", {})
    monkeypatch.setattr(home, "_captures", lambda _device: captured)
    memory = weakref.ref(scratch(use, (16,), torch.float32, CPU)._base)  # type: ignore[arg-type]
    monkeypatch.setattr(home, "_captures", lambda _device: False)
    scratch(use, (1000,), torch.float32, CPU)
    assert (memory() is not None) == captured
