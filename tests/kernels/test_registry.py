from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from llmbench.kernels import registry
from llmbench.kernels.registry import KernelError, implementations, implements, select

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("op", registry.OPS)
def test_every_operation_has_a_reference_and_something_faster(op: str) -> None:
    found = implementations(op)
    assert found[-1].name == "reference"
    assert len(found) >= 2
    assert select(op, CPU, torch.bfloat16).name != "reference"


@pytest.mark.parametrize(
    ("device", "dtype", "name"),
    [
        (CPU, torch.float32, "torch-cpu"),
        (CPU, torch.bfloat16, "torch-cpu"),
        (CUDA, torch.float16, "triton"),
        (CPU, torch.float64, "reference"),
    ],
)
def test_the_device_and_dtype_choose(device: torch.device, dtype: torch.dtype, name: str) -> None:
    assert select("w4a16_linear", device, dtype).name == name


def test_a_forced_choice_is_obeyed() -> None:
    assert select("rope", CPU, torch.float32, {"rope": "reference"}).name == "reference"
    assert select("rms_norm", CPU, torch.float32, {"rope": "reference"}).name == "torch"


@pytest.mark.parametrize(
    ("op", "force", "message"),
    [
        ("rms_nrom", {}, "did you mean 'rms_norm'"),
        ("rope", {"rope": "refrence"}, "did you mean 'reference'"),
        ("rope", {"silu_mull": "torch"}, "did you mean 'silu_mul'"),
        ("w4a16_linear", {"w4a16_linear": "triton"}, "does not run on cpu in torch.float32"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(op: str, force: dict[str, str], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        select(op, CPU, torch.float32, force)


def test_a_third_party_kernel_is_found_by_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    implementations("silu_mul")
    monkeypatch.setitem(registry._registered, "silu_mul", dict(registry._registered["silu_mul"]))

    @implements(
        "silu_mul", backend="mine", when=lambda _, dtype: dtype == torch.float16, priority=200
    )
    def mine(gate_up: torch.Tensor) -> torch.Tensor:
        return gate_up

    assert select("silu_mul", CPU, torch.float16).function is mine
    assert select("silu_mul", CPU, torch.float32).name == "torch"
    with pytest.raises(KernelError, match="twice"):
        implements("silu_mul", backend="mine")(mine)


def test_triton_is_not_imported_until_its_kernel_runs() -> None:
    script = (
        "import sys, torch\n"
        "from llmbench.kernels.registry import implementations\n"
        "before = 'triton' in sys.modules\n"
        "implementations('w4a16_linear')\n"
        "assert ('triton' in sys.modules) == before\n"
        "assert 'llmbench.kernels.triton.w4a16_kernel' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
