"""The options that say what is simulated: declared once, for every command that simulates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .run import parameters_of, with_options

if TYPE_CHECKING:
    from ..simulation.simulated_machine import Machine

    MachineOf = Callable[[], Machine]

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
FreeMemory = Annotated[
    float,
    typer.Option(
        help="Share of the memory that weights and steps leave free, given to the KV cache, as "
        "TensorRT-LLM has it; vLLM's --gpu-memory-utilization is of all memory.",
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


def machine_of(
    hardware: Hardware = "h100",
    tensor_parallel: TensorParallel = 1,
    calibration: CalibrationFile = None,
    free_memory_fraction: FreeMemory = 0.9,
    prefill_efficiency: PrefillEfficiency = None,
    decode_efficiency: DecodeEfficiency = None,
) -> Machine:
    """The machine that the options describe. Raises ConfigError for a calibration that cannot be
    read."""
    from dataclasses import replace

    from ...engines.cost.calibrated import load_calibration
    from ...engines.cost.roofline import Efficiency
    from ..simulation.simulated_machine import Machine

    given = {"prefill": prefill_efficiency, "decode": decode_efficiency}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Machine(
        hardware,
        tensor_parallel,
        load_calibration(calibration) if calibration else None,
        free_memory_fraction,
        replace(Efficiency(), **chosen),
    )


_OPTIONS = parameters_of(machine_of)
MACHINE_OPTIONS = tuple(option.name for option in _OPTIONS)


def with_machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a machine, and hands it a function that makes the `Machine`,
    `machine`: one that simulates only if asked to reads no calibration otherwise."""
    return with_options(command, "machine", _OPTIONS, lambda chosen: lambda: machine_of(**chosen))
