"""`llmbench simulate`: the same policies on hardware that is not here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say_error
from .options import NOT_SIMULATED, with_run_options
from .output import AsJson, Out, Quiet, default_directory, finish, without_output

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..simulated_machine import Machine

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench simulate --model llama-3-70b --hardware h100 --tensor-parallel 4 --engine trtllm "
        "--trace azure-conv",
        "llmbench simulate --model llama-3-8b --hardware l40s --quant awq --request-rate 4",
        "llmbench simulate --model smollm2-135m --calibration calibration.json   "
        "[dim]this machine, as measured[/]",
    )
)

Hardware = Annotated[
    str,
    typer.Option(
        help="a100, h100, h200, b200, mi300x, trainium2, l40s, cpu, or a YAML file.",
        rich_help_panel="Machine",
    ),
]
TensorParallel = Annotated[
    int, typer.Option(help="Devices the model is split over.", rich_help_panel="Machine")
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="Step times as 'llmbench calibrate' measured them, in place of hardware.",
        rich_help_panel="Machine",
    ),
]
Utilisation = Annotated[
    float,
    typer.Option(
        help="Share of the memory that weights leave free, given to the KV cache.",
        rich_help_panel="Machine",
    ),
]
PrefillEfficiency = Annotated[
    float | None,
    typer.Option(help="Share of peak FLOP/s that is reached.", rich_help_panel="Machine"),
]
DecodeEfficiency = Annotated[
    float | None,
    typer.Option(help="Share of the memory bandwidth that is reached.", rich_help_panel="Machine"),
]


@with_run_options(without=NOT_SIMULATED, model="llama-3-8b", workload="azure-conv")
def simulate(
    settings: RunConfig,
    hardware: Hardware = "h100",
    tensor_parallel: TensorParallel = 1,
    calibration: CalibrationFile = None,
    gpu_memory_utilization: Utilisation = 0.9,
    prefill_efficiency: PrefillEfficiency = None,
    decode_efficiency: DecodeEfficiency = None,
    out: Out = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve a workload in virtual time: no weights, no GPU, the same bytes every time."""
    from ..simulate import prepare_simulation
    from ..simulate import simulate as measure
    from ..store import check_out
    from .progress import watching

    machine = machine_of(
        hardware,
        tensor_parallel,
        calibration,
        gpu_memory_utilization,
        prefill_efficiency,
        decode_efficiency,
    )
    directory = out or default_directory(settings)
    check_out(directory)
    prepared = prepare_simulation(without_output(settings), machine)
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepared, watch)
        except KeyboardInterrupt:
            say_error("interrupted before anything was simulated: nothing is saved")
            raise typer.Exit(Exit.INTERRUPTED) from None
    raise typer.Exit(finish(measured, directory, as_json=as_json))


def machine_of(
    hardware: str,
    tensor_parallel: int,
    calibration: Path | None,
    utilisation: float,
    prefill_efficiency: float | None,
    decode_efficiency: float | None,
) -> Machine:
    """The machine that the options describe."""
    from dataclasses import replace

    from ...engines.cost.calibrated import load_calibration
    from ...engines.cost.roofline import Efficiency
    from ..simulated_machine import Machine

    given = {"prefill": prefill_efficiency, "decode": decode_efficiency}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Machine(
        hardware,
        tensor_parallel,
        load_calibration(calibration) if calibration else None,
        utilisation,
        replace(Efficiency(), **chosen),
    )
