"""A benchmark of kernels from what is asked to a result that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...kernels.bench import Refused, Timing, bench
from ...kernels.rates import Rates, measure_rates, multiplied_on, name_of
from ...kernels.registry import implementations
from ...kernels.specs.spec import ModelShape, StepShape
from ...kernels.specs.table import spec_of
from ..machine.environment import capture
from ..machine.state import OFF_BY_MORE, check_alone, read_processors
from ..result import Check
from ..storage.json_text import json_text
from ..storage.whole_file import write_whole, writing

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class KernelBench:
    """What is asked: every implementation that runs there, and the reference if it is wanted."""

    ops: Sequence[str]
    model: ModelShape
    steps: Sequence[StepShape]
    dtype: torch.dtype
    device: torch.device
    turns: int
    with_reference: bool = False


@dataclass
class KernelResult:
    """rates: by the dtype that is multiplied. partial: it was interrupted. alone: whether others
    used the processors meanwhile; None until it ended."""

    device: str
    environment: dict[str, Any]
    rates: dict[str, Rates] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    refused: list[tuple[str, Refused]] = field(default_factory=list)
    partial: bool = False
    alone: Check | None = None

    def as_json(self) -> str:
        """schema_version is that of this file."""
        data = {
            "schema_version": SCHEMA_VERSION,
            "device": self.device,
            "partial": self.partial,
            "alone": None if self.alone is None else self.alone.model_dump(),
            "rates": {name: asdict(rates) for name, rates in self.rates.items()},
            "timings": [{**asdict(one), "of_floor": one.of_floor} for one in self.timings],
            "refused": [{"op": op, **asdict(one)} for op, one in self.refused],
            "environment": self.environment,
        }
        return json_text(data) + "\n"


def run_kernel_bench(
    asked: KernelBench, report: Callable[[str], None] = lambda _: None
) -> KernelResult:
    """Time everything that is asked. report: told what is going on.

    Ctrl-C ends it early: the result holds what was timed, and is marked partial.
    """
    result = KernelResult(_device_name(asked.device), capture(seed=0, import_torch=True))
    before = read_processors()
    try:
        for op in asked.ops:
            for step in asked.steps:
                _bench_step(asked, op, step, result, report)
    except KeyboardInterrupt:
        result.partial = True
    alone = check_alone(before, read_processors())
    # Implementations have their turns already, and threads are the runtime's.
    advice = "" if alone.ok else f"{OFF_BY_MORE}; measure again, or with OMP_NUM_THREADS=1"
    result.alone = alone.model_copy(update={"advice": advice})
    return result


def _bench_step(
    asked: KernelBench,
    op: str,
    step: StepShape,
    result: KernelResult,
    report: Callable[[str], None],
) -> None:
    spec = spec_of(op)
    multiplied = multiplied_on(asked.device, spec.multiplies or asked.dtype, asked.dtype)
    name = name_of(multiplied)
    if name not in result.rates:
        report(f"measuring bandwidth and {name} products")
        result.rates[name] = measure_rates(asked.device, multiplied)
    contenders = [
        one
        for one in implementations(op)
        if one.is_chosen_on(asked.device, asked.dtype)
        and (asked.with_reference or one.name != "reference")
    ]
    report(f"{op}, {step.label}")
    for found in bench(
        spec,
        contenders,
        asked.model,
        step,
        asked.dtype,
        asked.device,
        result.rates[name],
        asked.turns,
    ):
        if isinstance(found, Timing):
            result.timings.append(found)
        else:
            result.refused.append((op, found))


def write_result(path: Path, result: KernelResult) -> None:
    """Raises StoreError where it cannot be written."""
    with writing("out", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, result.as_json())


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(device)
