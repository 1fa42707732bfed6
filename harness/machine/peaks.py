"""Which peaks a run is held against: those of its device, in the dtype that it multiplies in.

A known GPU's are its datasheet's; another device's are what `llmbench machine` measured of it. What
is not known is not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...engines.cost.hardware import Hardware
from ...engines.errors import ConfigError
from ...reports.format import listed, plural
from ..result import Peaks
from .kept_peaks import machine_of, peaks_path, read_peaks
from .rates import datasheet_of

if TYPE_CHECKING:
    import torch


def peaks_of_hardware(hardware: Hardware, dtype: str) -> Peaks:
    """As the table of hardware has them. Raises ConfigError for a dtype it does not compute."""
    return Peaks(
        bytes_per_s=hardware.memory_bytes_per_s,
        flops_per_s=hardware.peak_flops(dtype),
        dtype=dtype,
        source=f"hardware table, {hardware.name}",
    )


def _not_measured(threads: int, known: Sequence[int]) -> str:
    """threads: of the run, 0 on a GPU. known: those that the machine was measured with."""
    if not threads:
        return "the peaks of this machine are not known: llmbench machine measures them"
    of_others = ""
    if known:
        others = listed([str(count) for count in sorted(known)])
        of_others = f" for {plural(threads, 'thread')}, only for {others}"
    command = f"llmbench machine --threads {threads}"
    return f"the peaks of this machine are not known{of_others}: {command} measures them"


def peaks_of_device(device: torch.device, dtype: str) -> Peaks | str:
    """Or why they are not known."""
    name, cores, threads = machine_of(device)
    known = datasheet_of(name) if device.type == "cuda" else None
    if known is not None and dtype in known.peak_tflops:
        return peaks_of_hardware(known, dtype)
    try:
        kept = {one.machine: one for one in read_peaks(peaks_path())}
    except ConfigError as error:
        return str(error)
    mine = kept.get((name, cores, threads))
    if mine is None:
        with_threads = [one.threads for one in kept.values() if one.machine[:2] == (name, cores)]
        return _not_measured(threads, with_threads)
    if dtype not in mine.flops_per_s:
        return f"the peak of this machine in {dtype} is not known"
    return Peaks(
        bytes_per_s=mine.bytes_per_s,
        flops_per_s=mine.flops_per_s[dtype],
        dtype=dtype,
        source=f"measured by llmbench machine, {mine.measured_at}",
    )
