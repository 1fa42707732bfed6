from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from llmbench.kernels import registry
from llmbench.kernels.dispatch import Implementation, calls, calls_since
from llmbench.kernels.int4 import pack_int4
from llmbench.kernels.registry import KernelError, implementations, implements, select
from torch import Tensor

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
        (CPU, torch.float32, "torch-widened"),
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
        ("w4a16_linear", {"w4a16_linear": "triton"}, "cannot be used: needs a CUDA device"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(op: str, force: dict[str, str], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        select(op, CPU, torch.float32, force)


def nothing_stays(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """What the test registers for `op` is forgotten after it."""
    implementations(op)
    monkeypatch.setitem(registry._registered, op, dict(registry._registered[op]))


def test_a_third_party_kernel_is_found_by_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_stays(monkeypatch, "silu_mul")

    @implements(
        "silu_mul", backend="mine", when=lambda _, dtype: dtype == torch.float16, priority=200
    )
    def mine(gate_up: Tensor) -> Tensor:
        return gate_up

    assert select("silu_mul", CPU, torch.float16).candidates[0].function is mine
    assert select("silu_mul", CPU, torch.float32).name == "torch"
    with pytest.raises(KernelError, match="twice"):
        implements("silu_mul", backend="mine")(mine)


def test_an_installed_kernel_that_ends_the_process_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Installed:
        value = "another.package"

        def load(self) -> None:
            sys.exit(0)

    monkeypatch.setattr(registry, "entry_points", lambda **_: [Installed()])
    with pytest.raises(KernelError, match=r"'another.package' does not import: SystemExit: 0"):
        registry._load.__wrapped__("silu_mul")


def test_triton_is_not_imported_until_its_kernel_runs() -> None:
    script = (
        "import sys, torch\n"
        "from llmbench.kernels.registry import implementations\n"
        "before = 'triton' in sys.modules\n"
        "implementations('w4a16_linear')\n"
        "assert ('triton' in sys.modules) == before\n"
        "assert 'llmbench.kernels.triton.nibbles_kernel' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def tagged(tag: float) -> Callable[[Tensor], Tensor]:
    """An implementation that says which it is."""

    def silu_mul(gate_up: Tensor) -> Tensor:
        return torch.full_like(gate_up, tag)

    return silu_mul


def test_each_call_goes_to_the_first_that_takes_and_prefers_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing_stays(monkeypatch, "silu_mul")
    implements(
        "silu_mul", backend="rows of 8", priority=300, takes=lambda gate_up: gate_up.shape[1] == 8
    )(tagged(1))
    implements(
        "silu_mul", backend="few rows", priority=200, prefers=lambda gate_up: len(gate_up) < 4
    )(tagged(2))
    implements("silu_mul", backend="anything", priority=150)(tagged(3))
    chosen = select("silu_mul", CPU, torch.float32)
    before = calls()
    said = [chosen.function(torch.empty(shape))[0, 0].item() for shape in ((1, 8), (3, 6), (4, 6))]
    assert said == [1, 2, 3]
    assert calls_since(before) == {"silu_mul": {"rows of 8": 1, "few rows": 1, "anything": 1}}


def test_a_forced_implementation_computes_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_stays(monkeypatch, "silu_mul")
    implements(
        "silu_mul",
        backend="mine",
        takes=lambda gate_up: gate_up.shape[1] == 8,
        prefers=lambda _: False,
    )(tagged(1))
    forced = select("silu_mul", CPU, torch.float32, {"silu_mul": "mine"}).function
    assert forced(torch.empty(2, 8))[0, 0] == 1
    with pytest.raises(KernelError, match="'mine', which was asked for, does not take this call"):
        forced(torch.empty(2, 6))


def test_what_is_missing_is_said_and_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_stays(monkeypatch, "silu_mul")
    implements(
        "silu_mul", backend="mine", priority=300, needs=lambda: "libmine.so is not installed"
    )(tagged(1))
    assert select("silu_mul", CPU, torch.float32).name == "torch"
    with pytest.raises(KernelError, match=r"'mine' cannot be used: libmine.so is not installed"):
        select("silu_mul", CPU, torch.float32, {"silu_mul": "mine"})


@pytest.mark.parametrize("op", registry.OPS)
def test_every_implementation_runs_here_or_says_why_not(op: str) -> None:
    for one in implementations(op):
        for dtype in (torch.float32, torch.bfloat16):
            reason = one.why_not(CPU, dtype)
            assert reason is None or (reason and "\n" not in reason)
            assert one.is_chosen_on(CPU, dtype) == (reason is None)


def test_triton_is_forced_on_a_cpu_only_while_it_is_interpreted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("triton")
    force = {"w4a16_linear": "triton"}
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert select("w4a16_linear", CPU, torch.float32, force).name == "triton"
    assert select("w4a16_linear", CPU, torch.float32).name != "triton"
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(KernelError, match="TRITON_INTERPRET=1"):
        select("w4a16_linear", CPU, torch.float32, force)


class Tagged:
    """A class operation that says who computed, and on how many rows."""

    tag = 0.0

    def __init__(self, packed: object, bias: Tensor | None, dtype: torch.dtype) -> None:
        pass

    def __call__(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), self.tag)

    @property
    def weight_bytes(self) -> int:
        return int(self.tag)


def test_a_class_is_chosen_by_its_weights_and_then_by_each_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing_stays(monkeypatch, "w4a16_linear")
    wide, few, rest = (type("Tagged", (Tagged,), {"tag": tag}) for tag in (1.0, 2.0, 3.0))
    implements(
        "w4a16_linear",
        backend="wide",
        priority=300,
        takes=lambda packed, *_: packed.in_features >= 64,
    )(wide)
    implements(
        "w4a16_linear",
        backend="few rows",
        priority=200,
        prefers=lambda packed, _bias, _dtype, x: len(x) <= packed.in_features // 16,
    )(few)
    implements("w4a16_linear", backend="rest", priority=150)(rest)
    made = select("w4a16_linear", CPU, torch.float32).function
    narrow, broad = (
        made(
            pack_int4(torch.zeros(2, k, dtype=torch.uint8), torch.ones(2, 1), torch.zeros(2, 1), k),
            None,
            torch.float32,
        )
        for k in (32, 64)
    )
    before = calls()
    assert (narrow.weight_bytes, broad.weight_bytes) == (2, 1)
    assert [narrow(torch.empty(rows, 32))[0].item() for rows in (2, 3)] == [2.0, 3.0]
    assert broad(torch.empty(9, 64))[0].item() == 1.0
    assert calls_since(before) == {"w4a16_linear": {"wide": 1, "few rows": 1, "rest": 1}}
    forced = select("w4a16_linear", CPU, torch.float32, {"w4a16_linear": "wide"}).function
    with pytest.raises(KernelError, match="does not take these weights"):
        forced(
            pack_int4(
                torch.zeros(2, 32, dtype=torch.uint8), torch.ones(2, 1), torch.zeros(2, 1), 32
            ),
            None,
            torch.float32,
        )


def test_a_gpu_does_not_wait_for_what_a_cpu_needs() -> None:
    """Native kernels find out by compiling, for several instruction sets one after the other."""
    one = Implementation(
        "silu_mul",
        "native",
        pytest.fail,
        lambda device, _dtype: device.type == "cpu",
        0,
        needs=lambda: pytest.fail("it was compiled"),
    )
    assert one.why_not(CUDA, torch.bfloat16) == "does not run on cuda in torch.bfloat16"
    assert not one.is_chosen_on(CUDA, torch.bfloat16)
