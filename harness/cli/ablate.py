"""`llmbench ablate`: change engine settings one at a time, in every combination."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.engine import engine_options
from ..options.machine import MACHINE_OPTIONS, with_machine_options
from ..options.run import NOT_SIMULATED, is_typed, parameters_of, refused, with_run_options
from .console import foreign
from .exits import Exit, say, say_error, say_text
from .figures import Figures, draw
from .output import AsJson, Quiet, write_texts

if TYPE_CHECKING:
    from ...reports.ablation_model import Ablation
    from ..ablation.design import Design, NotRun
    from ..cells.runner import CellRunner
    from ..config import RunConfig
    from ..options.machine import MachineOf
    from ..run.watch import Watch
    from ..simulation.simulated_machine import Machine

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench ablate --axes batching,admission,kv   [dim]each at its default levels[/]",
        "llmbench ablate --axes batching=separate:mixed:static,quant --num-requests 320",
        "llmbench ablate --axes kv,block_size=16:32 --kv-memory 24MiB --max-concurrency 32",
        "llmbench ablate --axes batching,kv --repeats 3 --request-rate 8 --out runs/ablation",
        "llmbench ablate --axes batching,admission,kv --simulate --model llama-3-70b "
        "--hardware h100 --tensor-parallel 4 --workload azure-conv",
        "The same command again goes on where it stopped.",
    )
)


@with_run_options(without=("quality_reference",), quality_tokens=0)
@with_machine_options
def ablate(
    context: typer.Context,
    settings: RunConfig,
    machine: MachineOf,
    axes: Annotated[
        str,
        typer.Option(
            help="Settings to change: names, with levels where the default ones will not do, as in "
            "batching,kv=paged:contiguous,max_num_seqs=8:32. The first level is the base.",
            rich_help_panel="Ablation",
        ),
    ],
    repeats: Annotated[
        int,
        typer.Option(
            help="Runs of each cell, each repeat with requests and an order of its own; from 2 on "
            "the intervals cover how the machine differs from run to run.",
            rich_help_panel="Ablation",
        ),
    ] = 1,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="In virtual time on the machine below, as 'llmbench simulate' does.",
            rich_help_panel="Machine",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where cells and reports go. Default: runs/ablation-<axes>.",
            rich_help_panel="Output",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Remove the ablation at --out first, and run every cell anew.",
            rich_help_panel="Output",
        ),
    ] = False,
    figures: Figures = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve the same requests with every combination of some settings, and say what each moved.

    Every cell is a run as `llmbench run`, or with --simulate `llmbench simulate`, would leave it.
    Exit code 3 if a cell's run is not valid: it then enters no effect. Nor does one for which the
    device has no memory: the others go on, and the exit code is 5.
    """
    from ...reports.ablation_report import ablation_report
    from ..ablation.design import parse_axes
    from ..storage.sole_writer import sole_writer
    from .progress import watching

    simulate = simulate or is_typed(context, "calibration")
    _refuse_unused(context, simulate=simulate)
    design = parse_axes(axes, settings.engine)
    _refuse_overridden(context, design)
    directory = out or _default_directory(design)
    with sole_writer(directory), watching(quiet=quiet or as_json) as watch:
        runner = _runner(settings, machine() if simulate else None, watch)
        ablation, failed = _measure(
            design, settings, runner, repeats, directory, watch, overwrite=overwrite
        )
    if figures is not None:
        draw(ablation_report(ablation), figures)
    if as_json:
        from dataclasses import asdict

        from ..storage.json_text import json_text

        print(json_text(asdict(ablation)))
    else:
        from .tables import print_ablation

        print_ablation(ablation)
        say(f"\n[bold]report[/]  {foreign(directory / 'ablation.html')}")
    raise typer.Exit(Exit.OUT_OF_MEMORY if failed else _verdict(ablation))


def _refuse_unused(context: typer.Context, *, simulate: bool) -> None:
    """An option that would do nothing is refused, not ignored. Raises ConfigError."""
    allowed = "not with a simulation, which has no model" if simulate else "only with --simulate"
    for name in NOT_SIMULATED if simulate else MACHINE_OPTIONS:
        if is_typed(context, name):
            raise refused(context, name, allowed)


def _refuse_overridden(context: typer.Context, design: Design) -> None:
    """Nor one whose every value an axis replaces. Raises ConfigError."""
    from ..ablation.design import setting_of_option

    axes = {axis.name for axis in design.axes}
    for one in parameters_of(engine_options):
        if setting_of_option(one.name) in axes and is_typed(context, one.name):
            raise refused(context, one.name, "unset: it is one of the axes, which say its levels")


def _runner(settings: RunConfig, machine: Machine | None, watch: Watch) -> CellRunner:
    if machine is None:
        from ..cells.real import RealCells

        return RealCells(settings, watch)
    from ..cells.simulated import SimulatedCells

    return SimulatedCells(settings, machine, watch)


def _measure(
    design: Design,
    settings: RunConfig,
    runner: CellRunner,
    repeats: int,
    directory: Path,
    watch: Watch,
    *,
    overwrite: bool,
) -> tuple[Ablation, Sequence[NotRun]]:
    """Check, run what is not stored yet, analyse, write the reports. Returns also the cells that
    failed."""
    from ...engines.errors import ConfigError
    from ..ablation.analyse import analyse
    from ..ablation.factorial import Factorial
    from ..ablation.run import (
        check,
        check_directory,
        check_repeats,
        forget,
        has_runs,
        run_cells,
    )
    from ..errors import InvalidRun
    from ..rendering import ablation_reports

    check_directory(directory, None if overwrite else design)
    checked = check(design, runner, repeats=repeats, seed=settings.seed)
    if overwrite:
        forget(directory)
    else:
        check_repeats(directory, design, repeats)
    try:
        ran = run_cells(checked, runner, directory, watch)
    except KeyboardInterrupt:
        if has_runs(directory):
            say_text(f"cells that ended are in {directory}; the same command goes on from there")
            raise
        say_error("interrupted before a cell ended: the same command begins again")
        raise typer.Exit(Exit.INTERRUPTED) from None
    for one in ran.failed:
        say_error(f"not run, in no effect: {one.cell.name}: {one.reason}")
    watch.stage("working out effects")
    factorial = Factorial(design, ran.runs, (*checked.not_run, *ran.failed))
    try:
        ablation = analyse(factorial, command=settings.command)
    except (ConfigError, InvalidRun) as error:
        if not ran.failed:
            raise
        # Nothing is wrong with the settings; it is for want of memory that too few are left.
        say_error(
            "no two cells are left that differ in one axis, so there is no effect; those that "
            f"ended are in {directory}, and the same command goes on from there"
        )
        raise typer.Exit(Exit.OUT_OF_MEMORY) from error
    write_texts(directory, ablation_reports(ablation))
    return ablation, ran.failed


def _verdict(ablation: Ablation) -> Exit:
    invalid = [cell for cell in ablation.cells if cell.status == "invalid"]
    for cell in invalid:
        say_error(f"invalid run, in no effect: {cell.name}: {cell.reason}")
    return Exit.INVALID if invalid else Exit.OK


def _default_directory(design: Design) -> Path:
    """Named by what is asked, so that the same command finds it again."""
    return Path("runs") / ("ablation-" + "-".join(axis.name for axis in design.axes))
