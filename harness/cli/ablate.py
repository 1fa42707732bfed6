"""`llmbench ablate`: change engine settings one at a time, in every combination."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say, say_error
from .options import with_run_options

if TYPE_CHECKING:
    from ...reports.ablation_model import Ablation
    from ..ablation.design import Design
    from ..config import RunConfig
    from ..experiment import Watch

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench ablate --axes batching,admission,kv   [dim]each at its default levels[/]",
        "llmbench ablate --axes batching=separate:mixed:static,quant --num-requests 320",
        "llmbench ablate --axes kv,block_size=16:32 --kv-memory 24MiB --max-concurrency 32",
        "llmbench ablate --axes batching,kv --repeats 3 --request-rate 8 --out runs/ablation",
        "The same command again goes on where it stopped.",
    )
)


@with_run_options(quality_tokens=0)
def ablate(
    settings: RunConfig,
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
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where cells and reports go. Default: runs/ablation-<axes>.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print effects, cells and sentences as JSON on standard output.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Serve the same requests with every combination of some settings, and say what each moved.

    Every cell is a run as `llmbench run` would leave it. Exit code 3 if a cell's run is not valid:
    it then enters no effect.
    """
    from ..ablation.design import parse_axes
    from .progress import watching

    design = parse_axes(axes, settings.engine)
    directory = out or _default_directory(design)
    with watching(quiet=quiet or as_json) as watch:
        ablation = _measure(design, settings, repeats, directory, watch)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(ablation), indent=2))
    else:
        from .tables import print_ablation

        print_ablation(ablation)
        say(f"\n[bold]report[/]  {directory / 'ablation.html'}")
    raise typer.Exit(_verdict(ablation))


def _measure(
    design: Design, settings: RunConfig, repeats: int, directory: Path, watch: Watch
) -> Ablation:
    """Check, run what is not stored yet, analyse, write the reports."""
    from ..ablation.analyse import Factorial, analyse
    from ..ablation.real import RealCells
    from ..ablation.run import check, check_directory, run_cells
    from ..views import ablation_reports

    check_directory(directory)
    runner = RealCells(settings, watch)
    checked = check(design, runner, repeats=repeats, seed=settings.seed)
    try:
        runs = run_cells(checked, runner, directory, watch)
    except KeyboardInterrupt:
        say(f"cells that ended are in {directory}; the same command goes on from there")
        raise
    watch.stage("working out effects")
    ablation = analyse(Factorial(design, runs, checked.not_run), command=settings.command)
    _write(directory, ablation_reports(ablation))
    return ablation


def _verdict(ablation: Ablation) -> Exit:
    invalid = [cell for cell in ablation.cells if cell.status == "invalid"]
    for cell in invalid:
        say_error(f"invalid run, in no effect: {cell.name}: {cell.reason}")
    return Exit.INVALID if invalid else Exit.OK


def _default_directory(design: Design) -> Path:
    """Named by what is asked, so that the same command finds it again."""
    return Path("runs") / ("ablation-" + "-".join(axis.name for axis in design.axes))


def _write(directory: Path, reports: dict[str, str]) -> None:
    from ..store import StoreError

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in reports.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError("out", directory, f"cannot be written: {error.strerror}") from error
