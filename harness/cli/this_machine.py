"""`llmbench machine`: what this machine does at most, for runs to be held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import say, say_text
from .output import AsJson

if TYPE_CHECKING:
    import torch

    from ...engines.cost.hardware import Hardware
    from ..machine.kept_peaks import MachinePeaks

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench machine   [dim]some seconds; runs then say their MFU and MBU[/]",
        "llmbench machine --threads 1   [dim]for runs with --threads 1[/]",
        "llmbench machine --rounds 10   [dim]where bandwidth comes and goes[/]",
        "llmbench machine --forget   [dim]what was measured of it before[/]",
    )
)


def machine(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads, as runs will have. Default: torch's choice.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Of measuring, the best of which counts.")] = 3,
    forget: Annotated[
        bool, typer.Option("--forget", help="Keep this measurement, whatever was known.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure memory bandwidth and the rate of products, and keep them for runs on this machine.

    MFU and MBU are shares of these peaks. What is kept is the best of all measurements: a busy
    machine shows less than its peak, never more. A GPU that the table of hardware knows needs none.
    """
    from dataclasses import asdict

    import torch

    from ...engines.device import find_device
    from ...engines.errors import ConfigError
    from ..config import check_threads
    from ..machine.kept_peaks import keep_peaks, peaks_path
    from ..machine.rates import datasheet_of
    from ..machine.state import check_alone, read_processors
    from ..storage.json_text import json_text

    if threads is not None:
        check_threads(threads)
    if not 1 <= rounds <= 100:
        raise ConfigError("rounds", rounds, "1 to 100")
    found = find_device(device)
    if found.type == "cuda" and (known := datasheet_of(torch.cuda.get_device_name(found))):
        print(known.model_dump_json(indent=2) if as_json else _of_datasheet(known))
        return
    if threads is not None:
        torch.set_num_threads(threads)
    before = read_processors()
    measured = _measured(found, rounds, quiet=as_json)
    alone = check_alone(before, read_processors())
    kept = keep_peaks(peaks_path(), measured, forget=forget)
    print(json_text(asdict(kept)) if as_json else _of_measurement(kept))
    say_text(f"kept in {peaks_path()}")
    if not alone.ok:
        say(f"[yellow]caution[/] {foreign(alone.detail)}: the peaks may be higher; measure again")


def _measured(device: torch.device, rounds: int, *, quiet: bool) -> MachinePeaks:
    from datetime import UTC, datetime
    from functools import reduce

    from ..machine.kept_peaks import MachinePeaks, measure_peaks

    found: list[MachinePeaks] = []
    for at in range(rounds):
        if not quiet:
            say(f"measuring, {at + 1} of {rounds}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found.append(measure_peaks(device, now))
    return reduce(MachinePeaks.better_of, found)


def _of_measurement(peaks: MachinePeaks) -> str:
    of = f", {peaks.cores} cores, {peaks.threads} threads" if peaks.threads else ""
    rows = [f"{peaks.device}{of}", f"memory  {peaks.bytes_per_s / 1e9:.1f} GB/s"]
    rows += [f"{dtype:7} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in peaks.flops_per_s.items()]
    return "\n".join(rows)


def _of_datasheet(hardware: Hardware) -> str:
    rows = [
        f"{hardware.description}: known, nothing to measure",
        f"memory  {hardware.memory_gb_per_s:.0f} GB/s",
    ]
    rows += [f"{dtype:7} {rate:g} TFLOP/s" for dtype, rate in hardware.peak_tflops.items()]
    return "\n".join(rows)
