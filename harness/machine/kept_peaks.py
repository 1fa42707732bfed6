"""What this machine does at most, as `llmbench machine` measured it, kept for runs to be held
against.

Measuring takes a second and half a gigabyte, and says less while something else runs, so a run does
not do it by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...engines.cost.weights import SHORT_DTYPE
from ...engines.errors import ConfigError
from ...engines.models.catalogue import cache_directory
from ..storage.json_text import json_text
from ..storage.whole_file import write_whole, writing

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class MachinePeaks:
    """One device's. device: its model. cores, threads: that a CPU's were measured with; 0 of a GPU.
    flops_per_s: by dtype, as the hardware table calls it. measured_at: the last time."""

    device: str
    cores: int
    threads: int
    bytes_per_s: float
    flops_per_s: Mapping[str, float]
    measured_at: str

    @property
    def machine(self) -> tuple[str, int, int]:
        """Whose they are."""
        return self.device, self.cores, self.threads

    def better_of(self, other: MachinePeaks) -> MachinePeaks:
        """The higher of each of two measurements of one machine, for each is of a peak."""
        dtypes = {**other.flops_per_s, **self.flops_per_s}
        flops_per_s = {
            dtype: max(self.flops_per_s.get(dtype, 0.0), other.flops_per_s.get(dtype, 0.0))
            for dtype in dtypes
        }
        bytes_per_s = max(self.bytes_per_s, other.bytes_per_s)
        latest = max(self.measured_at, other.measured_at)
        return MachinePeaks(*self.machine, bytes_per_s, flops_per_s, latest)


def peaks_path() -> Path:
    """Where runs look for them."""
    return cache_directory() / "machine-peaks.json"


def read_peaks(path: Path) -> tuple[MachinePeaks, ...]:
    """All that are kept; none where there is no file. Raises ConfigError for another's file."""
    if not path.is_file():
        return ()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"another schema_version than {SCHEMA_VERSION}")
        return tuple(MachinePeaks(**row) for row in data["machines"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        allowed = f"a file that llmbench machine wrote; remove it ({error})"
        raise ConfigError("machine", str(path), allowed) from error


def keep_peaks(path: Path, measured: MachinePeaks, *, forget: bool = False) -> MachinePeaks:
    """Add a measurement to those that are kept, and return what is now kept of its machine: of
    several the best. forget: what was known of it. Raises ConfigError."""
    kept = read_peaks(path)
    others = [one for one in kept if one.machine != measured.machine]
    for one in kept:
        if one.machine == measured.machine and not forget:
            measured = measured.better_of(one)
    rows = [asdict(one) for one in (*others, measured)]
    text = json_text({"schema_version": SCHEMA_VERSION, "machines": rows})
    with writing("machine", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text + "\n")
    return measured


def measure_peaks(device: torch.device, measured_at: str) -> MachinePeaks:
    """Of products in the dtype of 16 bits that models run in here, in float32 and in int8; on a
    CPU, of four-bit codes times bytes, and in fp8 on a GPU that has it. One by one."""
    from ...engines.device import choose_dtype
    from ...kernels.pytorch.scaled_mm import multiplies_e4m3
    from .rates import W4A8, find_rates

    # Without a compiler a CPU's models run in float32, unless bfloat16 is asked for.
    own = "bfloat16" if device.type == "cpu" else choose_dtype("auto", device)
    of_device = (W4A8,) if device.type == "cpu" else ("fp8",) * multiplies_e4m3(device)
    dtypes = dict.fromkeys((SHORT_DTYPE[own], "fp32", "int8", *of_device))
    rates = {dtype: find_rates(device, dtype) for dtype in dtypes}
    return MachinePeaks(
        *machine_of(device),
        max(one.bytes_per_s for one in rates.values()),
        {name: one.flops_per_s for name, one in rates.items()},
        measured_at,
    )


def machine_of(device: torch.device) -> tuple[str, int, int]:
    """What peaks depend on: the device, and of a CPU the cores and torch's threads."""
    import torch

    from .environment import cpu

    if device.type == "cuda":
        return torch.cuda.get_device_name(device), 0, 0
    found = cpu()
    return str(found["model"]), int(found["usable_cores"]), torch.get_num_threads()
