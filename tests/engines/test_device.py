"""What a GPU does not compute is refused, with what to choose instead."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines import device as devices
from llmbench.engines.device import check_feature, choose_dtype, lacks_feature
from llmbench.engines.errors import ConfigError

GPU = torch.device("cuda")
T4, A100, L40S, H100, B200 = (7, 5), (8, 0), (8, 9), (9, 0), (10, 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    def pretend(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
        monkeypatch.setattr(torch.version, "hip", None)

    return pretend


@pytest.mark.parametrize(
    ("feature", "have", "lack"),
    [
        ("bfloat16", (A100, L40S, H100, B200), (T4,)),
        ("fp8", (L40S, H100, B200), (T4, A100)),
        ("fp4", (B200,), (T4, A100, L40S, H100)),
    ],
)
def test_features_come_with_generations(feature, have, lack) -> None:
    assert not any(lacks_feature(feature, capability) for capability in have)
    assert all(lacks_feature(feature, capability) for capability in lack)


def test_a_missing_feature_is_one_line(gpu) -> None:
    gpu(A100)
    with pytest.raises(ConfigError) as error:
        check_feature(GPU, "fp8", "quant", "fp8", "int8 or awq")
    assert str(error.value) == (
        "quant: 'fp8' is not allowed; expected int8 or awq "
        "(fp8 needs compute capability 8.9, this GPU has 8.0)"
    )
    check_feature(torch.device("cpu"), "fp8", "quant", "fp8", "int8 or awq")
    gpu(H100)
    check_feature(GPU, "fp8", "quant", "fp8", "int8 or awq")


def test_bfloat16_is_chosen_only_where_it_is_computed(gpu) -> None:
    gpu(T4)
    assert choose_dtype("auto", GPU) == "float16"
    assert choose_dtype("float16", GPU) == "float16"
    with pytest.raises(ConfigError, match=r"bfloat16 needs compute capability 8\.0"):
        choose_dtype("bfloat16", GPU)
    gpu(H100)
    assert choose_dtype("auto", GPU) == choose_dtype("bfloat16", GPU) == "bfloat16"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no usable CUDA device"):
        devices.find_device("cuda:1")
