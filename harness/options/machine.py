"""The options that say what is simulated: declared once, for every command that simulates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engines.errors import ConfigError
from .run import parameters_of, with_options

if TYPE_CHECKING:
    from ..simulation.simulated_machine import Machine

    MachineOf = Callable[[], Machine]

# None stands for the default everywhere: only what is typed can be refused beside a calibration.
Hardware = Annotated[
    str | None,
    typer.Option(
        help="a100, h100, h200, b200, mi300x, trainium2, l40s, cpu, or a YAML file. Default: h100.",
        rich_help_panel="Machine",
    ),
]
TensorParallel = Annotated[
    int | None,
    typer.Option(help="Devices the model is split over. Default: 1.", rich_help_panel="Machine"),
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        help="Step times as 'llmbench calibrate' measured them, in place of hardware: beside no "
        "other option of a machine.",
        rich_help_panel="Machine",
    ),
]
FreeMemory = Annotated[
    float | None,
    typer.Option(
        help="Share of the memory that weights and steps leave free, given to the KV cache, as "
        "TensorRT-LLM has it; vLLM's --gpu-memory-utilization is of all memory. Default: 0.9.",
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
    hardware: Hardware = None,
    tensor_parallel: TensorParallel = None,
    calibration: CalibrationFile = None,
    free_memory_fraction: FreeMemory = None,
    prefill_efficiency: PrefillEfficiency = None,
    decode_efficiency: DecodeEfficiency = None,
) -> Machine:
    """The machine that the options describe. Raises ConfigError for a calibration that cannot be
    read, and for any other option beside one, whose step times are of the machine they say."""
    from ...engines.cost.calibrated import load_calibration
    from ...engines.cost.roofline import Efficiency
    from ..simulation.simulated_machine import Machine

    typed = _given(
        hardware=hardware,
        tensor_parallel=tensor_parallel,
        free_memory_fraction=free_memory_fraction,
        prefill_efficiency=prefill_efficiency,
        decode_efficiency=decode_efficiency,
    )
    if calibration is not None:
        for name, value in typed.items():
            raise ConfigError(name, value, "unset: --calibration stands in the machine's place")
        return Machine(calibration=load_calibration(calibration))
    shares = _given(prefill=prefill_efficiency, decode=decode_efficiency)
    whole = _given(
        hardware=hardware, devices=tensor_parallel, free_memory_fraction=free_memory_fraction
    )
    return Machine(**whole, efficiency=Efficiency(**shares))


def _given(**values: Any) -> dict[str, Any]:
    """Those that are not left out."""
    return {name: value for name, value in values.items() if value is not None}


_OPTIONS = parameters_of(machine_of)
MACHINE_OPTIONS = tuple(option.name for option in _OPTIONS)


def with_machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a machine, and hands it a function that makes the `Machine`,
    `machine`: one that simulates only if asked to reads no calibration otherwise."""
    return with_options(command, "machine", _OPTIONS, lambda chosen: lambda: machine_of(**chosen))
