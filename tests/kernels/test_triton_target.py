from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from llmbench.kernels import requirements
from llmbench.kernels.registry import KernelError, implementations, select
from llmbench.kernels.triton.target import on_gpu, power_of_two, warps_for

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OPS = [
    "paged_attention",
    "contiguous_attention",
    "quantized_paged_attention",
    "quantized_contiguous_attention",
    "cache_write",
    "quantized_cache_write",
    "rms_norm",
    "add_rms_norm",
    "rope",
    "rope_cache_write",
    "silu_mul",
]
# Of quantised weights, and drawing: what a GPU has them do besides.
OTHERS = [
    "fp4_linear",
    "fp8_linear",
    "sample",
    "w4a16_linear",
    "w4a8_linear",
    "w8a16_linear",
    "w8a8_linear",
]


@pytest.mark.parametrize("op", OPS)
def test_a_gpu_gets_triton(op: str) -> None:
    pytest.importorskip("triton")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert select(op, CUDA, dtype).name == "triton"
        assert select(op, CPU, dtype).name != "triton"
    assert select(op, CUDA, torch.float64).name != "triton"


@pytest.mark.parametrize("op", [*OPS, *OTHERS])
def test_without_triton_a_gpu_gets_pytorch(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_is_installed", lambda _name: False)
    assert not select(op, CUDA, torch.bfloat16).name.startswith("triton")


@pytest.mark.parametrize("op", [*OPS, *OTHERS])
@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_before_sm_80_gets_pytorch(
    op: str, capability: tuple[int, int], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A T4 allows a program 64 KB of shared memory, and contexts in float16 take 96 there."""
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert select(op, CUDA, torch.float16).name.startswith("triton") == has
    first = next(one for one in implementations(op) if one.name.startswith("triton"))
    if not has:
        with pytest.raises(KernelError, match=r"'triton.*' cannot be used: does not run on cuda"):
            select(op, CUDA, torch.float16, {op: first.name})


def test_amd_s_devices_are_told_apart_by_no_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert on_gpu(CUDA, torch.float16)


def test_registering_imports_no_triton() -> None:
    script = (
        "import sys\n"
        "from llmbench.kernels.registry import implementations\n"
        "before = 'triton' in sys.modules\n"
        f"for op in {OPS}: implementations(op)\n"
        "assert ('triton' in sys.modules) == before\n"
        "assert not [name for name in sys.modules if name.endswith('_kernel')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_operation_has_one_triton_implementation() -> None:
    for op in OPS:
        assert [one.name for one in implementations(op)].count("triton") == 1


@pytest.mark.parametrize(("number", "power"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128)])
def test_power_of_two(number: int, power: int) -> None:
    assert power_of_two(number) == power


@pytest.mark.parametrize(("elements", "warps"), [(16, 1), (256, 1), (1024, 4), (16384, 16)])
def test_warps(elements: int, warps: int) -> None:
    assert warps_for(elements) == warps
