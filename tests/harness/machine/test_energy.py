"""Energy from counters of a made-up sysfs, and of a made-up driver."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from llmbench.harness.machine.energy import POLL_S, EnergyCount, find_meter
from llmbench.harness.machine.nvml import NvmlMeter
from llmbench.harness.machine.rapl import RaplMeter, find_domains
from llmbench.harness.result import Energy

RANGE_UJ = 1_000_000


def make_zone(powercap: Path, zone: str, name: str, energy_uj: int) -> Path:
    directory = powercap / zone
    directory.mkdir(parents=True)
    (directory / "name").write_text(f"{name}\n")
    (directory / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (directory / "energy_uj").write_text(f"{energy_uj}\n")
    return directory / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two sockets as Linux shows them; what must not be counted twice is there, too."""
    make_zone(tmp_path, "intel-rapl:0", "package-0", 100)
    make_zone(tmp_path, "intel-rapl:0:0", "core", 50)
    make_zone(tmp_path, "intel-rapl:0:1", "dram", 10)
    make_zone(tmp_path, "intel-rapl:1", "package-1", 200)
    make_zone(tmp_path, "intel-rapl:2", "psys", 900)
    make_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 100)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def advance(powercap: Path, zone: str, to_uj: int) -> None:
    (powercap / zone / "energy_uj").write_text(f"{to_uj}\n")


def test_packages_and_memory_are_counted_once(powercap: Path) -> None:
    names = [domain.name for domain in find_domains(powercap)]
    assert names == ["package-0", "package-0 dram", "package-1"]


def test_energy_is_what_the_counters_rose_by(powercap: Path) -> None:
    meter = find_meter(torch.device("cpu"), powercap)
    assert isinstance(meter, RaplMeter)
    advance(powercap, "intel-rapl:0", 500_100)
    advance(powercap, "intel-rapl:0:1", 250_010)
    assert meter.joules() == {"package-0": 0.5, "package-0 dram": 0.25, "package-1": 0.0}


def test_a_counter_that_began_again_goes_on(powercap: Path) -> None:
    meter = RaplMeter(find_domains(powercap))
    for to_uj in (900_100, 600_100, 300_100):  # 0.9, then two wraps of 0.7 each
        advance(powercap, "intel-rapl:0", to_uj)
        energy = meter.joules()
    assert energy["package-0"] == pytest.approx(0.9 + 0.7 + 0.7)


def test_a_run_polls_so_that_no_wrap_is_missed(powercap: Path) -> None:
    now_s = 0.0
    counting = EnergyCount(RaplMeter(find_domains(powercap)), lambda: now_s)
    heard: list[str] = []
    progress = counting.polling(heard.append)
    for to_uj in (900_100, 600_100):
        now_s += POLL_S + 1
        advance(powercap, "intel-rapl:0", to_uj)
        progress("a step")
    now_s += 1
    advance(powercap, "intel-rapl:0", 200_100)
    progress("soon after")  # nothing is read, and nothing missed
    found = counting.stop()

    assert isinstance(found, Energy)
    assert heard == ["a step", "a step", "soon after"]
    assert found.joules == pytest.approx(0.9 + 0.7 + 0.6)
    assert (found.source, found.duration_s) == ("RAPL", 2 * POLL_S + 3)


def test_without_counters_there_is_a_reason_and_no_number(tmp_path: Path) -> None:
    meter = find_meter(torch.device("cpu"), tmp_path)
    assert meter == "there are no RAPL counters here"
    assert EnergyCount(meter).stop() == meter


def test_counters_that_only_root_may_read(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    domains = find_domains(powercap)
    monkeypatch.setattr("llmbench.harness.machine.rapl.find_domains", lambda _: domains)
    monkeypatch.setattr(Path, "read_text", refuse)
    assert RaplMeter.of(powercap) == "RAPL counters are not readable here (Permission denied)"


def test_a_counter_that_went_away_makes_no_number(powercap: Path) -> None:
    counting = EnergyCount(RaplMeter(find_domains(powercap)))
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert counting.stop() == "the counter failed: No such file or directory"


class FakeDriver:
    """NVML's three functions over one GPU."""

    def __init__(self, uuid: str = "GPU-1234", energy_mj: int = 5_000, code: int = 0) -> None:
        self.uuid, self.energy_mj, self.code = uuid, energy_mj, code

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: ctypes.c_void_p) -> int:  # noqa: N802
        handle._obj.value = 77  # pyright: ignore[reportAttributeAccessIssue]
        return 0 if uuid.decode() == self.uuid else 2

    def nvmlDeviceGetTotalEnergyConsumption(  # noqa: N802
        self, handle: ctypes.c_void_p, energy_mj: ctypes.c_ulonglong
    ) -> int:
        assert handle.value == 77
        energy_mj._obj.value = self.energy_mj  # pyright: ignore[reportAttributeAccessIssue]
        return self.code


def test_a_gpus_energy_is_in_millijoules_since_the_meter_was_made() -> None:
    driver = FakeDriver()
    meter = NvmlMeter.of(driver, "1234")
    assert isinstance(meter, NvmlMeter)
    driver.energy_mj += 12_500
    assert meter.joules() == {"gpu": 12.5}


@pytest.mark.parametrize(
    ("driver", "why"),
    [(FakeDriver("GPU-9"), "not known"), (FakeDriver(code=3), "not supported by this GPU")],
    ids=["another GPU", "older than Volta"],
)
def test_a_gpu_without_a_counter_says_so(driver: FakeDriver, why: str) -> None:
    found = NvmlMeter.of(driver, "1234")
    assert isinstance(found, str)
    assert why in found
