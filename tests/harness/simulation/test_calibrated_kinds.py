"""What a calibration may be used for, and held against: its own kind of step, on its machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from llmbench.engines.cost.calibrated import Calibration
from llmbench.engines.errors import ConfigError
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.calibrate import calibrate_runs
from llmbench.harness.simulation.simulate import prepare_simulation
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.harness.simulation.twin import hold_against
from llmbench.harness.storage.store import StoredRun

from .test_simulate import calibration, config
from .test_twin import stored


def calibrated(**settings: Any) -> Calibration:
    made = calibration()
    return replace(made, settings={**made.settings, **settings})


def measured_with(run: StoredRun, **settings: Any) -> StoredRun:
    result = run.result.model_copy(update={"config": {**run.result.config, **settings}})
    return replace(run, result=result)


GROUPS = {"quant": "awq", "group_size": 64}


@pytest.mark.parametrize(
    ("engine", "settings", "said"),
    [
        ({"quant": "awq", "group_size": 32}, GROUPS, "group_size: 32 is not allowed; expected 64,"),
        ({"quant": "awq"}, GROUPS | {"quant_bits": 8}, "quant_bits: None is not allowed; expected"),
        (
            {"force_kernels": ("linear=torch",)},
            {"force_kernels": ["linear=numpy"]},
            "force_kernels: .* is not allowed; expected .*linear=numpy.*, which was calibrated",
        ),
    ],
)
def test_other_weights_and_kernels_have_other_step_times(
    engine: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        prepare_simulation(config("bundled", **engine), Machine(calibration=calibrated(**settings)))


@pytest.mark.parametrize(
    ("engine", "settings"),
    [
        ({"quant": "awq"}, GROUPS),
        ({"quant": "awq", "group_size": 64}, GROUPS),
        ({}, {"force_kernels": ["linear=torch"]}),
        ({"force_kernels": ("linear=torch",)}, {"force_kernels": ["linear=torch"]}),
    ],
)
def test_what_is_not_asked_for_is_what_was_measured(
    engine: dict[str, Any], settings: dict[str, Any]
) -> None:
    machine = Machine(calibration=calibrated(**settings))
    prepared = prepare_simulation(config("bundled", **engine), machine)
    assert prepared.engine.group_size == settings.get("group_size")
    assert prepared.engine.force_kernels == tuple(settings.get("force_kernels", ()))


def test_the_memory_of_a_gpu_is_asked_for_where_only_its_step_times_are_known() -> None:
    """Known wrong here: 1 GiB, which is what a CPU's engine gives itself."""
    gpu = Machine(calibration=calibrated(device="cuda"))
    with pytest.raises(ConfigError, match="kv_memory: missing; expected a size such as 16GiB: a"):
        prepare_simulation(config("bundled"), gpu)
    asked = prepare_simulation(config("bundled", kv_memory_bytes=2**26), gpu)
    assert asked.pool_tokens == 2**26 // 6144
    on_cpu = prepare_simulation(config("bundled"), Machine(calibration=calibrated(device="cpu")))
    assert on_cpu.pool_tokens == 2**30 // 6144


@pytest.mark.parametrize("machine", [Machine("h100"), Machine(calibration=calibration())])
def test_memory_without_room_for_a_token_is_refused_as_it_was_asked_for(machine: Machine) -> None:
    """6 layers, keys and values of 2 heads of 64. Known wrong here: "kv_memory_bytes: 0"."""
    asked = config("bundled", dtype="float32", kv_memory_bytes=5000)
    said = "kv_memory: '5000 bytes' is not allowed; expected at least the 6144 bytes that a token"
    with pytest.raises(ConfigError, match=said):
        prepare_simulation(asked, machine)


def test_a_calibration_is_checked_by_a_run_of_its_kind_and_machine() -> None:
    """Known wrong here: another machine's run told of the error, and so did other kernels'."""
    made, unseen = calibrate_runs([stored("seen", 1)]), stored("unseen", 2)
    environment = {**unseen.result.environment, "cpu": {"model": "Another", "usable_cores": 64}}
    elsewhere = unseen.result.model_copy(update={"environment": environment})
    for other, said in (
        (replace(unseen, result=elsewhere), "machine is 'unknown CPU, .*', not 'Another, 64 cores"),
        (
            measured_with(unseen, force_kernels=["linear=torch"]),
            r"force_kernels is \[\], not \['linear=torch'\]",
        ),
        (measured_with(unseen, device="cuda"), "device is 'cpu', not 'cuda'"),
    ):
        with pytest.raises(ConfigError, match=rf"check: 'unseen' .* those that were .*{said}"):
            hold_against(made, other, Silent())
