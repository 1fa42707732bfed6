"""`llmbench sweep`: one command at every point of a grid, or at growing rates."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engines.errors import ConfigError
from ..options.run import is_typed, refused
from .console import foreign
from .exits import Exit, say, say_error
from .figures import Figures, draw
from .output import AsJson, Quiet, write_texts

if TYPE_CHECKING:
    from ...reports.sweep_model import SweepTable
    from ..sweep.grid import Axis
    from ..sweep.saturation import SaturationGoal

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench sweep --out runs/grid --vary engine=paged,inflight --vary request-rate=1,2,4 -- "
        "run --num-requests 100",
        "llmbench sweep --out runs/kv --vary block-size=8,16,32 -- simulate --model llama-3-8b",
        "llmbench sweep --out runs/top --saturate --vary engine=paged,inflight -- run "
        "--workload azure-conv --slo ttft:2s   [dim]the highest rate that each follows[/]",
    )
)


def sweep(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(help="After --: 'run' or 'simulate' with the options of every cell."),
    ],
    out: Annotated[
        Path, typer.Option(help="Directory of the sweep; the same command goes on with it.")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(help="OPTION=VALUE,VALUE. Repeat it for more: every combination is run."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Runs of each cell; those after the first get seeds of their own.")
    ] = 1,
    saturate: Annotated[
        bool,
        typer.Option(
            "--saturate",
            help="At each point, search for the highest request rate that is followed: requests "
            "end as fast as they come and, with --slo, --attainment of them keep it. Runs grow "
            "longer until the answer stays.",
        ),
    ] = False,
    attainment: Annotated[
        str, typer.Option(help="Share of the requests that must keep the SLO, with --saturate.")
    ] = "99%",
    rate_tolerance: Annotated[
        str, typer.Option(help="How finely the rate is found, with --saturate.")
    ] = "5%",
    start_rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second, or sessions where the workload has them, to begin with, with "
            "--saturate. Default: three quarters of what a run of everything at once serves.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the cells' order and of repeats' requests.")] = 0,
    figures: Figures = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run one command at every point of a grid, each in a process of its own, in a random order.

    Cells that are stored are not run again, so an interrupted sweep goes on where it stopped; two
    sweeps of one command in one directory share the cells between them. Writes sweep.html, sweep.md
    and results.csv; after Ctrl-C, of what had ended. Exit code 3 if a cell does not count or a
    search had to end early.
    """
    from ..sweep.cells import Sweep
    from ..sweep.grid import RATE, check_command, grid, parse_axis, scaling, through_errors
    from ..sweep.swept import sweep_grid, sweep_rates
    from .sweep_checks import refuse_wrong

    axes = [parse_axis(text) for text in vary or []]
    has_slo = _has_slo(command) or any(axis.option == "slo" for axis in axes)
    _refuse_unused(context, saturate=saturate, has_slo=has_slo)
    _refuse_varied(axes, saturate=saturate, repeats=repeats)
    words = check_command(
        command,
        [
            *(axis.option for axis in axes),
            *([RATE] if saturate else []),
            *(["seed"] if repeats > 1 else []),
        ],
    )
    cells = grid(axes, repeats, seed)
    identity: dict[str, Any] = {"vary": [asdict(axis) for axis in axes], "seed": seed}
    goal = None
    if saturate:
        goal = _goal(attainment if has_slo else None, rate_tolerance, start_rate)
        identity["saturate"] = asdict(goal)
        varied = [axis.option for axis in axes]
        words = through_errors(scaling(words, varied), varied)
        refuse_wrong(context, (*words, f"--{RATE}={start_rate or 1:g}"), cells)
    else:
        refuse_wrong(context, words, cells)
    opened = Sweep(out, words, identity)

    def report(text: str) -> None:
        if not quiet and not as_json:
            say(f"[dim]{foreign(text)}[/]")

    command_text = shlex.join(words)
    if goal is None:
        told = sweep_grid(opened, command_text, cells, seed, report)
    else:
        told = sweep_rates(opened, command_text, cells, goal, report)
    if told.interrupted and not told.cells:
        say_error("interrupted before a cell ended: the same command begins again")
        raise typer.Exit(Exit.INTERRUPTED)
    _write(out, told)
    if figures is not None:
        from ...reports.sweep_report import sweep_report

        draw(sweep_report(told), figures)
    raise typer.Exit(_print(out, told, as_json=as_json))


def _refuse_unused(context: typer.Context, *, saturate: bool, has_slo: bool) -> None:
    """An option that would do nothing is refused, not ignored. Raises ConfigError."""
    for name in ("attainment", "rate_tolerance", "start_rate"):
        if not saturate and is_typed(context, name):
            raise refused(context, name, "only with --saturate")
    if not has_slo and is_typed(context, "attainment"):
        raise refused(context, "attainment", "only where the command has an --slo")


def _has_slo(words: Sequence[str]) -> bool:
    return any(word.partition("=")[0] == "--slo" for word in words)


def _refuse_varied(axes: Sequence[Axis], *, saturate: bool, repeats: int) -> None:
    """What the sweep sets by itself. Raises ConfigError."""
    from ..sweep.grid import NUM_REQUESTS, RATE

    own = {RATE: "--saturate finds it", NUM_REQUESTS: "--saturate grows it by itself"}
    taken = own if saturate else {}
    if repeats > 1:
        taken = {**taken, "seed": "--repeats give each repeat one of its own"}
    for axis in axes:
        if axis.option in taken:
            raise ConfigError("vary", axis.option, f"another option: {taken[axis.option]}")


def _goal(attainment: str | None, tolerance: str, start_per_s: float | None) -> SaturationGoal:
    from ..sweep.saturation import SaturationGoal
    from ..units import parse_share

    return SaturationGoal(
        None if attainment is None else parse_share("attainment", attainment),
        parse_share("rate_tolerance", tolerance),
        start_per_s,
    )


def _write(out: Path, told: SweepTable) -> None:
    from ..rendering import sweep_reports
    from ..sweep.table import frame

    write_texts(out, {**sweep_reports(told), "results.csv": frame(told).to_csv(index=False)})


def _print(out: Path, told: SweepTable, *, as_json: bool) -> Exit:
    if as_json:
        from ..storage.json_text import json_text

        print(json_text(asdict(told)))
    else:
        from .sweep_tables import print_sweep

        print_sweep(told)
        where, table = foreign(out / "sweep.html"), foreign(out / "results.csv")
        say(f"\n[bold]report[/]  {where}   [bold]table[/]  {table}")
    if told.interrupted:
        kept = f"interrupted, {told.interrupted}: what did is saved and marked partial"
        say_error(f"{kept}; the same command goes on")
        return Exit.INTERRUPTED
    return Exit.OK if told.is_whole else Exit.INVALID
