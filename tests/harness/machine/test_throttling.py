"""What was throttled between two readings of the kernel's and the driver's counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.machine.throttling import Throttled, check_throttling, read_throttled


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of programs in place of the machine's own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [
        ("cpu.stat", "usage_usec 9\nnr_throttled 3\nthrottled_usec 1500000\n", 1.5),
        ("cpu/cpu.stat", "nr_periods 4\nthrottled_time 2500000000\n", 2.5),
        ("cpu.stat", "usage_usec 9\nuser_usec 4\n", None),
    ],
    ids=["version 2", "version 1", "no quota"],
)
def test_a_quota(tmp_path: Path, name: str, text: str, seconds: float | None) -> None:
    write(tmp_path, {name: text})
    assert read_throttled(tmp_path, tmp_path).quota_s == seconds


def test_a_service_is_held_back_by_each_group_that_it_lies_in(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/system.slice/bench.service\n")
    for group, microseconds in (("system.slice", 250_000), ("system.slice/bench.service", 500_000)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "cpu.stat").write_text(f"throttled_usec {microseconds}\n")

    assert read_throttled(tmp_path, tmp_path, own).quota_s == 0.75


def test_heat_is_summed_over_cores(tmp_path: Path) -> None:
    files = {f"cpu{at}/thermal_throttle/core_throttle_count": f"{at}\n" for at in (1, 2)}
    write(tmp_path, files)
    assert read_throttled(tmp_path, tmp_path).heat == 3
    assert read_throttled(tmp_path, tmp_path / "none").heat is None


@pytest.mark.parametrize(
    ("script", "seconds"),
    [
        ("echo '1000000, 0, 500000'; echo '0, 0, 1000000'", 2.5),
        ("echo '[N/A], [N/A], [N/A]'", None),
        ("echo 'Field is not a valid field to query.'; exit 2", None),
    ],
    ids=["two GPUs", "not counted", "an older driver"],
)
def test_clocks_of_gpus(tmp_path: Path, no_tools: Path, script: str, seconds: float | None) -> None:
    tool = no_tools / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    assert read_throttled(tmp_path, tmp_path).gpu_s == seconds


@pytest.mark.parametrize(
    ("now", "ok", "said"),
    [
        (Throttled(5.0, 7, 2.0), True, "nothing was throttled; counted here: a quota, heat, GPU"),
        (Throttled(5.05, 7, 2.0), True, "nothing was throttled"),
        (Throttled(5.4, 7, 2.0), False, "a quota held threads back for 0.40 s"),
        (Throttled(5.0, 9, 2.0), False, "cores were slowed for their temperature 2 times"),
        (Throttled(5.0, 7, 3.5), False, "clocks of GPUs were lowered for 1.50 s"),
    ],
)
def test_what_happened_in_ten_seconds(now: Throttled, ok: bool, said: str) -> None:
    check = check_throttling(now.since(Throttled(5.0, 7, 2.0)), 10.0)
    assert check.ok is ok
    assert not check.fatal
    assert said in check.detail


def test_nothing_is_claimed_where_nothing_counts() -> None:
    check = check_throttling(Throttled(5.0).since(Throttled()), 10.0)
    assert check.ok
    assert check.detail == "nothing was throttled; counted here: nothing"
