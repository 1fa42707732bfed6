"""What a GPU does not compute is refused, with what to choose instead."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines import device as devices
from llmbench.engines.device import choose_dtype
from llmbench.engines.errors import ConfigError

GPU = torch.device("cuda")
T4, A100, H100 = (7, 5), (8, 0), (9, 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    def pretend(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
        monkeypatch.setattr(torch.version, "hip", None)

    return pretend


def test_bfloat16_is_chosen_only_where_it_is_computed(gpu) -> None:
    gpu(T4)
    assert choose_dtype("auto", GPU) == "float16"
    assert choose_dtype("float16", GPU) == "float16"
    with pytest.raises(ConfigError, match=r"bfloat16 needs compute capability 8\.0"):
        choose_dtype("bfloat16", GPU)
    for newer in (A100, H100):
        gpu(newer)
        assert choose_dtype("auto", GPU) == choose_dtype("bfloat16", GPU) == "bfloat16"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no usable CUDA device"):
        devices.find_device("cuda:1")
