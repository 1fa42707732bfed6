"""How calls are made ready to be timed on a GPU, with a stand-in for what is PyTorch's there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from llmbench.kernels import bench
from llmbench.kernels.dispatch import Implementation
from llmbench.kernels.rates import Rates
from llmbench.kernels.registry import implementations
from llmbench.kernels.specs.spec import SMOLLM2_135M, Call, StepShape
from llmbench.kernels.specs.table import spec_of

CUDA = torch.device("cuda")


class SyncDebugMode:
    """PyTorch's switch that makes waiting an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mode: int | str = 0
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self._set)

    def _set(self, mode: int | str) -> None:
        self.mode = mode

    def wait(self) -> None:
        if self.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")


def test_what_waits_for_the_device_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that fails leaves PyTorch's random numbers unusable for the rest of the process."""
    device = SyncDebugMode(monkeypatch)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", pytest.fail)
    assert bench._captured([lambda: None, device.wait], 4) is None
    assert device.mode == 0
    assert not bench._waits(lambda: None)
    device.wait()  # waiting is allowed again


def test_every_copy_was_computed_before_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch brings its lengths to the device in its first call: in a capture, each replay would
    copy them anew from memory that is given back."""
    computed: list[int] = []
    before: list[list[int]] = []

    def captured(_calls: Sequence[Callable[[], object]], _repeats: int) -> None:
        before.append(sorted(set(computed)))

    monkeypatch.setattr(bench, "_captured", captured)
    monkeypatch.setattr(bench, "seconds", lambda _device, call, _repeats=1: call() or 1e-3)
    one = Implementation("silu_mul", "noted", computed.append, lambda _device, _dtype: True, 0)
    bench._Runner(one, [Call((copy,)) for copy in range(7)], CUDA)
    assert before == [list(range(7))]


@pytest.mark.parametrize(("graph", "repeats"), [(object(), 700), (None, 40)])
def test_a_graph_reads_every_copy(
    graph: object, repeats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts over at each replay: of the first 40 copies alone, a cache holds all. Calls that
    are launched one by one go on where the last turn ended, so 40 ms of them do."""
    asked: list[int] = []

    def captured(_calls: Sequence[Callable[[], object]], calls: int) -> object:
        asked.append(calls)
        return graph

    monkeypatch.setattr(bench, "_captured", captured)
    monkeypatch.setattr(bench, "seconds", lambda _device, call, _repeats=1: call() or 1e-3)
    one = Implementation("silu_mul", "slow", lambda _: None, lambda _device, _dtype: True, 0)
    runner = bench._Runner(one, [Call((copy,)) for copy in range(700)], CUDA)
    assert asked == [700]
    assert runner.repeats == repeats


def test_one_that_raises_is_named_and_the_others_are_timed() -> None:
    def raises(gate_up: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
        raise ValueError("out of\nshared memory")

    contenders = [
        Implementation("silu_mul", "mine", raises, lambda _device, _dtype: True, 0),
        next(one for one in implementations("silu_mul") if one.name == "torch"),
    ]
    found = bench.bench(
        spec_of("silu_mul"),
        contenders,
        SMOLLM2_135M,
        StepShape(batch=2),
        torch.float32,
        torch.device("cpu"),
        Rates(1e10, 1e10, 1e10, 2**20),
        turns=1,
    )
    refused, timing = found
    assert refused == bench.Refused("mine", "gate", "raised ValueError: out of shared memory")
    assert timing.implementation == "torch"


def test_eight_bit_caches_are_read_from_memory_as_wide_ones_are() -> None:
    """Of one sequence, in a processor with a cache of 32 MiB: 128 copies fitted."""
    machine = Rates(1e10, 1e11, 1e12, 32 * 2**20)
    step = StepShape(batch=1, context=512)
    for op in ("paged_attention", "quantized_paged_attention"):
        spec = spec_of(op)
        for case in spec.of_model(SMOLLM2_135M, step).values():
            work = spec.work(case, torch.bfloat16)
            cold, copies = bench._copies(spec, work, machine)
            assert cold
            assert copies * work.bytes_moved >= 2 * machine.cache_bytes
