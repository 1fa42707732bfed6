"""What a machine did to a run, from counters written by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.machine_state import MachineState, check_machine, read_machine, slowed

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
QUIET = MachineState(100.0, 2, 50.0, 1.0, 40.0, 0.5, 0.0)


def machine(root: Path, stat: str, limited_us: int | None = None, hot_ms: tuple[int, ...] = ()):
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(stat)
    if limited_us is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup/cpu.stat").write_text(
            f"usage_usec 12\nnr_throttled 3\nthrottled_usec {limited_us}\n"
        )
    for core, value in enumerate(hot_ms):
        folder = root / f"sys/devices/system/cpu/cpu{core}/thermal_throttle"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "core_throttle_total_time_ms").write_text(f"{value}\n")
    return read_machine(root)


def test_counters_are_read_as_the_kernel_documents_them(tmp_path: Path) -> None:
    #       user nice system idle iowait irq softirq steal guest guest_nice
    stat = "cpu  100 10 30 900 50 4 6 70 25 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"
    found = machine(tmp_path, stat, limited_us=2_500_000, hot_ms=(1000, 500))
    assert found.busy_s == pytest.approx((100 + 10 + 30 + 4 + 6) * TICK_S)
    assert found.stolen_s == pytest.approx(70 * TICK_S)
    assert found.limited_s == 2.5
    assert found.hot_s == 1.5


def test_a_machine_that_says_nothing_is_not_judged(tmp_path: Path) -> None:
    found = read_machine(tmp_path)
    assert (found.busy_s, found.stolen_s, found.limited_s, found.hot_s) == (None,) * 4
    assert check_machine(found, replace(found, time_s=found.time_s + 10), alone=True).ok


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        # Of 10 s on two cores.
        ({"stolen_s": 3.0}, "10% of the processor time went to other machines"),
        ({"limited_s": 1.5}, "the CPU quota held the run back for 1.0 s"),
        ({"hot_s": 0.3}, "cores were slowed by heat for 0.3 s"),
        ({"busy_s": 65.0, "own_s": 50.0}, "other processes used 25% of the processor time"),
        ({"slow_gpus": ("GPU 1 hw_slowdown",)}, "GPUs were slowed: GPU 1 hw_slowdown"),
    ],
)
def test_each_disturbance_is_a_caution(changed: dict[str, object], said: str) -> None:
    after = replace(QUIET, time_s=110.0, **changed)  # pyright: ignore[reportArgumentType]
    check = check_machine(QUIET, after, alone=True)
    assert not check.ok
    assert not check.fatal
    assert said in check.detail


def test_little_of_each_is_nothing() -> None:
    after = MachineState(110.0, 2, 66.0, 1.9, 55.0, 0.9, 0.0)
    assert check_machine(QUIET, after, alone=True).ok


def test_a_server_beside_the_client_is_no_disturbance() -> None:
    after = replace(QUIET, time_s=110.0, busy_s=69.0, own_s=41.0)
    assert not check_machine(QUIET, after, alone=True).ok
    assert check_machine(QUIET, after, alone=False).ok


def test_a_gpu_says_why_it_is_slow() -> None:
    told = "0, Not Active, Not Active, Not Active, Not Active\n1, Active, Active, Not Active, N/A\n"
    assert slowed(told) == ("GPU 1 hw_slowdown", "GPU 1 hw_thermal_slowdown")
    assert slowed("") == ()
