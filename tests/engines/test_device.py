"""What `auto` comes to, and that what a GPU does not compute is refused, with what to choose."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines import device as devices
from llmbench.engines.config import engine_config
from llmbench.engines.device import choose_dtype
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.resolve import resolve
from llmbench.kernels import bfloat16
from llmbench.kernels.native.build import AVX2, GENERIC, Target

CPU, GPU = torch.device("cpu"), torch.device("cuda")
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


@pytest.mark.parametrize(("count", "there"), [(1, "cuda:0"), (2, "cuda:0 to cuda:1")])
def test_the_gpus_that_are_there_are_named(
    count: int, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert devices.find_device(f"cuda:{count - 1}").index == count - 1
    assert devices.find_device("cuda") == GPU
    for name in (f"cuda:{count}", "cuda:128", "cuda:256"):
        with pytest.raises(ConfigError, match=f"'{name}' .*expected {there}: .*{count} of them"):
            devices.find_device(name)


@pytest.fixture
def emulating_cpu(monkeypatch: pytest.MonkeyPatch):
    """A processor without bfloat16 arithmetic, and the targets whose libraries it runs."""

    def pretend(*usable: Target) -> None:
        monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
        library = object()
        found = {target.name: library for target in usable}
        monkeypatch.setattr(bfloat16, "find_library", lambda target: found.get(target.name))

    return pretend


def test_a_cpu_that_computes_bfloat16_is_asked_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(bfloat16, "find_library", lambda _: pytest.fail("it was built"))
    assert choose_dtype("auto", CPU) == choose_dtype("auto", CPU, ("linear",)) == "bfloat16"
    assert choose_dtype("auto", CPU, ("linear",), {"linear": "torch"}) == "bfloat16"


def test_another_cpu_widens_bfloat16_where_kernels_for_its_vectors_can_be_used(
    emulating_cpu,
) -> None:
    emulating_cpu(AVX2, GENERIC)
    assert choose_dtype("auto", CPU, ("linear",)) == "bfloat16"
    assert choose_dtype("auto", CPU) == "float32"  # transformers computes the model
    assert choose_dtype("float16", CPU, ("linear",)) == "float16"
    for without in ((), (GENERIC,)):  # no compiler; a processor without vectors
        emulating_cpu(*without)
        assert choose_dtype("auto", CPU, ("linear",)) == "float32"
        assert choose_dtype("bfloat16", CPU, ("linear",)) == "bfloat16"


def test_a_dtype_that_was_asked_for_needs_no_compiler(
    emulating_cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulating_cpu()
    monkeypatch.setattr(bfloat16, "find_library", lambda _: pytest.fail("it was built"))
    for name in ("float32", "bfloat16", "float16"):
        assert choose_dtype(name, CPU, ("linear",)) == name


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({}, "bfloat16"),
        ({"quant": "awq"}, "bfloat16"),
        ({"quant": "fp8"}, "bfloat16"),
        ({"model_impl": "transformers"}, "float32"),
        ({"force_kernels": ("linear=torch",)}, "float32"),
        ({"force_kernels": ("silu_mul=torch",)}, "bfloat16"),
        ({"quant": "awq", "force_kernels": ("w4a16_linear=torch-widened",)}, "float32"),
        ({"quant": "int8", "force_kernels": ("w4a16_linear=torch-widened",)}, "bfloat16"),
        ({"quant": "awq+int8-head", "force_kernels": ("w8a16_linear=torch-widened",)}, "float32"),
    ],
    ids=str,
)
def test_the_dtype_goes_by_what_computes_the_linear_maps(
    settings: dict, dtype: str, emulating_cpu
) -> None:
    emulating_cpu(AVX2)
    engine = engine_config("paged", device="cpu", max_model_len=64, **settings)
    found = resolve(engine, resolve_model("bundled"))
    assert found.dtype == dtype
    assert resolve(found, resolve_model("bundled")) == found
