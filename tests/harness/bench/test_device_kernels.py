"""Which kernels a step's time goes to, with a profiler that is told what it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.cases import Case
from llmbench.harness.bench.device_kernels import (
    PROFILED_STEPS,
    DeviceEvent,
    KernelTime,
    kernel_times,
    kernels_of,
)
from llmbench.harness.bench.engine_turns import Side
from llmbench.harness.cli import app
from typer.testing import CliRunner


@dataclass(frozen=True)
class Event:
    name: str
    device_time: float


def test_launches_of_a_name_are_added_and_divided_by_the_steps() -> None:
    seen = [Event("a", 2e6), Event("b", 3e7), Event("a", 4e6), Event("b", 1e7)]
    assert kernel_times(seen, 2) == (KernelTime("b", 1.0, 20.0), KernelTime("a", 1.0, 3.0))
    assert kernel_times([], 8) == ()


@pytest.mark.parametrize("engine", ["paged", "inflight"])
@pytest.mark.parametrize("case", [Case("decode", 3, 40), Case("prefill", 1, 60)], ids=str)
def test_what_is_recorded_is_steps_of_the_case_and_all_requests_end(
    engine: str, case: Case
) -> None:
    files = resolve_model("bundled")
    side = Side(files, resolve(engine_config(engine), files))
    side.load(lambda _: None)
    core = side.core(case)
    took: list[tuple[int, int]] = []
    step = core.engine.step

    def counted() -> object:
        outcome = step()
        if outcome.trace is not None:
            took.append((outcome.trace.prefill_tokens, outcome.trace.decode_tokens))
        return outcome

    core.engine.step = counted  # type: ignore[method-assign]

    def record(run: Callable[[], None]) -> list[DeviceEvent]:
        before = len(took)
        run()
        seen.extend(took[before:])
        return [Event("kernel", 1.0)] * (len(took) - before)

    seen: list[tuple[int, int]] = []
    prompts = [tuple(range(3, 3 + case.tokens))] * case.sequences
    (found,) = kernels_of(core, case, prompts, record)
    if case.phase == "decode":
        assert seen == [(0, case.sequences)] * PROFILED_STEPS
        assert found.calls == 1
    else:
        assert sum(prefill for prefill, _ in seen) == case.tokens
        assert not any(decode for _, decode in seen)
        assert found.calls == len(seen)
    assert not core.engine.has_work()


def test_without_a_gpu_a_profile_is_refused() -> None:
    asked = ["bench-engine", "--profile", "--device", "cpu", "--batch", "1"]
    with pytest.raises(ConfigError, match=r"^profile: 'cpu' is not allowed; expected a GPU"):
        CliRunner().invoke(app.app, asked, catch_exceptions=False)
