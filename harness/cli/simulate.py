"""`llmbench simulate`: the same policies on hardware that is not here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from ..options.engine import check_group_size
from ..options.machine import with_machine_options
from ..options.run import NOT_SIMULATED, with_run_options
from .earlier import Overwrite, check_run, refuse_overwrite
from .exits import Exit, say_error
from .output import AsJson, Out, Quiet, as_asked, default_directory, directory_name, finish
from .repeats import RepeatsAsked, run_repeated

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..options.machine import MachineOf

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench simulate --model llama-3-70b --hardware h100 --tensor-parallel 4 --engine trtllm "
        "--trace azure-conv",
        "llmbench simulate --model llama-3-8b --hardware l40s --quant awq --request-rate 4",
        "llmbench simulate --hardware h100 --tensor-parallel 4 --model llama-3-70b "
        "--price-per-hour 10   [dim]of the four together: what a million tokens cost[/]",
        "llmbench simulate --model smollm2-135m --calibration calibration.json   "
        "[dim]this machine, as measured[/]",
    )
)


@with_run_options(without=NOT_SIMULATED, model="llama-3-8b", workload="azure-conv")
@with_machine_options
def simulate(
    context: typer.Context,
    settings: RunConfig,
    machine: MachineOf,
    repeats: RepeatsAsked = 1,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve a workload in virtual time: no weights, no GPU, the same bytes every time."""
    from ..run.seeds import check_repeats
    from ..simulation.simulate import prepare_simulation
    from ..simulation.simulate import simulate as measure
    from .progress import watching

    directory = out or default_directory(directory_name(settings.engine))
    check_repeats(repeats)
    refuse_overwrite(context, goes_on=repeats > 1)
    asked = as_asked(settings)
    check_group_size(asked.engine, reads_checkpoint=False)
    if repeats > 1:
        from ..repeats.runners import simulated

        runner_of = partial(simulated, asked, machine())
        raise typer.Exit(
            run_repeated(runner_of, directory, repeats, settings.seed, as_json=as_json, quiet=quiet)
        )
    stood = check_run(directory, asked.command, overwrite=overwrite)
    prepared = prepare_simulation(asked, machine())
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepared, watch)
        except KeyboardInterrupt:
            say_error("interrupted before there was a result: nothing is saved")
            raise typer.Exit(Exit.INTERRUPTED) from None
    raise typer.Exit(finish(measured, directory, stood, as_json=as_json))
