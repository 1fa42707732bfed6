"""`llmbench kernels`: what can compute each operation here, whether it is right, how fast it is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...kernels.errors import KernelError
from ...reports.format import rounded_percent
from . import kernels_bench
from .console import TerminalConsole, foreign
from .exits import Exit, say
from .kernel_options import Device, Kernels, Ops, device_named, dtypes_named, ops_named
from .output import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from ...kernels.check import Trial, Verdict
    from ...kernels.dispatch import Implementation

kernels = typer.Typer(
    help="List the operations and what computes them; check and time a kernel, also your own.",
    no_args_is_help=True,
)
kernels.command("bench", epilog=kernels_bench.EPILOG)(kernels_bench.bench)

# Each takes half a gigabyte of a GPU for itself.
MOST_JOBS = 16

LIST_EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench kernels list",
        "llmbench kernels list --op paged_attention --dtype bfloat16",
        "llmbench kernels list --kernel silu_mul=gates.py   [dim]with one of your own[/]",
    )
)
CHECK_EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench kernels check   [dim]everything that runs here[/]",
        "llmbench kernels check --kernel silu_mul=gates.py   [dim]your own, all its cases[/]",
        "llmbench kernels check --op rope --dtype bfloat16 --seed 7   [dim]repeatable[/]",
        "Without a GPU, Triton's kernels run in its interpreter, on small cases.",
    )
)


@kernels.command("list", epilog=LIST_EPILOG)
def list_(
    op: Ops = None,
    kernel: Kernels = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option(help="What is chosen is shown for this dtype.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """List the implementations of each operation: where they run, why not here, which is chosen."""
    import torch

    from ...kernels.choices import resolve_choices
    from ...kernels.registry import implementations, select

    forced = resolve_choices(kernel or ())
    at = device_named(device)
    (in_dtype,) = dtypes_named([dtype]) if dtype != "auto" else (torch.bfloat16,)
    rows = []
    for name in ops_named(op, forced):
        chosen = select(name, at, in_dtype, forced).candidates
        for one in implementations(name):
            reasons = [one.why_not(at, each) for each in dtypes_named(None)]
            rows.append(
                {
                    "op": name,
                    "implementation": one.name,
                    "devices": _devices(one),
                    "dtypes": _made_for(one),
                    "runs_here": None in reasons,
                    "why_not": None if None in reasons else reasons[0],
                    "asked": next((i for i, its in enumerate(chosen) if its is one), None),
                }
            )
    if as_json:
        from ..storage.json_text import json_text

        print(json_text(rows))
        return
    _print_list(rows, f"{at.type} in {str(in_dtype).removeprefix('torch.')}")


@kernels.command(epilog=CHECK_EPILOG)
def check(
    op: Ops = None,
    kernel: Kernels = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option(help="Only those of this name, of whatever operation. Repeat it for more."),
    ] = None,
    device: Device = "auto",
    dtype: Annotated[
        list[str] | None, typer.Option(help="float32, float16 or bfloat16. Default: all.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the random inputs. Default: another each time.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes. Default: one, on a GPU one a core: they compile kernels."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare implementations with their operation's reference, over odd shapes.

    Exits with 1 if one is wrong, and says where.
    """
    _interpret_triton_on(device)
    import secrets

    from ...engines.errors import ConfigError
    from ...kernels.check import judged, trials
    from ...kernels.choices import resolve_choices

    only = resolve_choices(kernel or ())
    at = device_named(device)
    seed = secrets.randbelow(2**31) if seed is None else seed
    if not 0 <= seed < 2**63:
        raise ConfigError("seed", seed, "0 or more, less than 2^63")
    found = trials(ops_named(op, only), at, dtypes_named(dtype) if dtype else None, only)
    if implementation:
        found = [one for one in found if one.implementation.name in implementation]
    if not found:
        raise KernelError(f"nothing to check on {at.type}: {', '.join(implementation or [])}")
    all_verdicts: list[Verdict] = []
    wrong = 0
    for trial, verdicts in _checked(found, at, seed, kernel or (), jobs):
        bad = judged(verdicts)
        wrong += len(bad)
        all_verdicts += verdicts
        if not as_json:
            _print_trial(trial, verdicts, bad)
    if as_json:
        from dataclasses import asdict

        from ..storage.json_text import json_text

        shown = [asdict(one) for one in all_verdicts]
        print(json_text({"seed": seed, "wrong": wrong, "verdicts": shown}))
    else:
        say(f"{len(all_verdicts)} cases with seed {seed}; {wrong} wrong")
    raise typer.Exit(Exit.REGRESSED if wrong else Exit.OK)


def _checked(
    trials: list[Trial], at: torch.device, seed: int, kernels: Sequence[str], jobs: int | None
) -> Iterator[tuple[Trial, list[Verdict]]]:
    from ...engines.errors import ConfigError

    cores = len(os.sched_getaffinity(0))
    if jobs is not None and not 1 <= jobs <= cores:
        raise ConfigError("jobs", jobs, f"1 to {cores}, the cores that it may use")
    if jobs is None:
        jobs = min(MOST_JOBS, cores) if at.type == "cuda" else 1
    if jobs == 1:
        from ...kernels.check import check as verdicts_of

        yield from ((trial, list(verdicts_of(trial, at, seed))) for trial in trials)
    else:
        from ..bench.kernel_checks import check_in_processes

        yield from check_in_processes(trials, at, seed, kernels, jobs)


def _print_trial(trial: Trial, verdicts: list[Verdict], bad: list[Verdict]) -> None:

    console = TerminalConsole(soft_wrap=True)
    mark = "[bold red]WRONG[/]" if bad else "[green]ok[/]   "
    dtype = str(trial.dtype).removeprefix("torch.")
    taken = [one for one in verdicts if one.refused is None]
    said = [f"{len(taken)} cases"]
    if len(taken) < len(verdicts):
        said.append(f"{len(verdicts) - len(taken)} not taken")
    if trial.interpreted:
        said.append("interpreted")
    if taken and not bad:
        said.append(f"error {rounded_percent(max(one.error for one in taken))} of what is allowed")
    console.print(
        f"{mark} {trial.spec.op:30} {foreign(trial.implementation.name):20} {dtype:9} "
        f"{', '.join(said)}"
    )
    for one in bad:
        console.print(f"      {foreign(one.sentence)}")


def _print_list(rows: list[dict[str, Any]], chosen_for: str) -> None:
    """An operation a heading, and under it who computes it; it fits 80 columns."""
    from itertools import groupby

    from rich.table import Table

    console = TerminalConsole()
    for op, implementations in groupby(rows, key=lambda row: row["op"]):
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in _LIST_WIDTHS:
            table.add_column(min_width=width, overflow="fold")  # a name that is cut is none to type
        table.add_column()
        for row in implementations:
            table.add_row(
                f"  {foreign(row['implementation'])}",
                " ".join(row["devices"]),
                " ".join(_SHORT[name] for name in row["dtypes"]),
                _here(row),
            )
        console.print(f"[bold]{foreign(op)}[/]")
        console.print(table)
    console.print(
        f"\nChosen: asked first on {chosen_for}; what it does not take or prefer goes to the next "
        "one below.\nForce one: [bold]llmbench run --kernel op=implementation[/]",
        style="dim",
    )


def _here(row: dict[str, Any]) -> str:
    if row["asked"] == 0:
        return "[bold green]chosen[/]"
    return "[green]yes[/]" if row["runs_here"] else f"[yellow]no:[/] {foreign(row['why_not'])}"


# Implementation, device, dtypes.
_LIST_WIDTHS = (20, 8, 14)
_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _devices(one: Implementation) -> list[str]:
    import torch

    return [
        name
        for name in ("cpu", "cuda")
        if any(one.when(torch.device(name), dtype) for dtype in dtypes_named(None))
    ]


def _made_for(one: Implementation) -> list[str]:
    import torch

    return [
        str(dtype).removeprefix("torch.")
        for dtype in dtypes_named(None)
        if any(one.when(torch.device(name), dtype) for name in ("cpu", "cuda"))
    ]


def _interpret_triton_on(device: str) -> None:
    """Without a GPU, Triton's code is checked in its interpreter, which it must be told of before
    it is imported. Finding a GPU does not import it."""
    import torch

    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if on_cpu and "triton" not in sys.modules:
        os.environ.setdefault("TRITON_INTERPRET", "1")
