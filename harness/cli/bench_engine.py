"""`llmbench bench-engine`: steps of an engine against the least time they could take."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.quantization.methods import quant_of
from ...reports.format import rounded_percent
from ..options.run import with_run_options
from .console import TerminalConsole, foreign, numbers
from .exits import Exit, say, say_error, say_text
from .output import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from ..bench.bench_engine import CaseResult, EngineBench
    from ..config import RunConfig

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench bench-engine   [dim]the bundled model, engine paged[/]",
        "llmbench bench-engine --model smollm2-135m --engine inflight --quant awq",
        "llmbench bench-engine --batch 1 --batch 64 --prompt 1024 --out bench.json",
        "llmbench bench-engine --model llama-3-8b --load-format dummy --profile   [dim]on a GPU[/]",
    )
)
# A bench makes its own requests.
_NO_LOAD = (
    *("workload", "trace", "time_scale", "num_requests", "request_rate", "max_concurrency"),
    *("arrival", "max_input_len", "max_output_len", "samples", "shared_prefix_len", "corpus"),
    *(
        "warmup_requests",
        "slo",
        "price_per_hour",
        "quality_tokens",
        "quality_reference",
        "max_num_seqs",
        "max_model_len",
    ),
)


@with_run_options(without=_NO_LOAD)
def bench_engine(
    settings: RunConfig,
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Sequences that decode. Repeat it for more. Default: 1, 8 and 32."),
    ] = None,
    prompt: Annotated[
        list[int] | None,
        typer.Option(help="Prompt tokens. Repeat it for more. Default: 128, 512 and 2048."),
    ] = None,
    context: Annotated[
        list[int] | None,
        typer.Option(help="Tokens before each decode step. Repeat it for more. Default: 128."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The result, JSON.")] = Path("bench-engine.json"),
    profile: Annotated[
        bool,
        typer.Option("--profile", help="On a GPU: which kernels a step's time goes to, too."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> None:
    """Time decode steps and prompts of an engine, and hold them against the machine's floor.

    The floor of a step is the longer of bytes over bandwidth and operations over rate; both rates
    are measured before and after each step, or a known GPU's datasheet is taken.
    """
    from ..bench.bench_engine import bench_engine as measure
    from ..bench.bench_engine import cases
    from ..bench.cases import CONTEXT_TOKENS
    from ..storage.whole_file import check_writable

    check_writable("out", out)
    asked = cases(batch or (1, 8, 32), prompt or (128, 512, 2048), context or (CONTEXT_TOKENS,))
    try:
        result = measure(
            settings.model,
            settings.engine,
            asked,
            command=shlex.join(["llmbench", *sys.argv[1:]]),
            seed=settings.seed,
            threads=settings.threads,
            report=(lambda _: None) if quiet else say_text,
            profile=profile,
        )
    except KeyboardInterrupt:
        say_error("interrupted before anything was timed: nothing is saved")
        raise typer.Exit(Exit.INTERRUPTED) from None
    from ..storage.json_text import json_text

    write_text(out, json_text(result.as_json()) + "\n")
    _print(result)
    say(f"\n[bold]result[/]  {foreign(out)}")
    if result.partial:
        say("[yellow]partial[/] it was interrupted: later cases are missing")
        raise typer.Exit(Exit.INTERRUPTED)


# The rest of a step's kernels are some microseconds.
_KERNELS_SHOWN = 12
_NAME_SHOWN = 70


def _kernels_table(result: CaseResult) -> Table:
    """Of a step the device's time by kernel; the share is of the time that all kernels took."""
    all_s = sum(one.seconds for one in result.kernels)
    title = f"{result.case.name}: {1e3 * all_s:.2f} ms on the device"
    table = numbers(title, "ms", "share", "calls", "µs a call")
    for one in result.kernels[:_KERNELS_SHOWN]:
        table.add_row(
            foreign(one.name[:_NAME_SHOWN]),
            f"{1e3 * one.seconds:.3f}",
            rounded_percent(one.seconds / all_s),
            f"{one.calls:.0f}",
            f"{1e6 * one.seconds / one.calls:.1f}",
        )
    return table


def _print(result: EngineBench) -> None:
    console, rates = TerminalConsole(), result.rates
    settings = result.settings
    console.print(
        f"[bold]{foreign(result.model)}[/] {foreign(settings['engine'])}, "
        f"quant {quant_of(settings)}, "
        f"{settings['dtype']} on {settings['device']}; the machine's GB/s and GFLOP/s around "
        f"each step: {rates.source}"
    )
    columns = (
        *("tok/s", "median ms", "best ms", "floor ms", "of floor", "bound"),
        *("MB", "GB/s", "GFLOP", "GFLOP/s"),
    )
    table = numbers("step", *columns)
    table.columns[0].no_wrap = True
    for one in result.results:
        table.add_row(
            one.case.name,
            f"{one.tokens_per_s:.0f}",
            *(f"{1e3 * value:.2f}" for value in (one.median_s, one.best_s, one.floor_s)),
            rounded_percent(one.share_of_floor),
            one.bound,
            f"{one.bytes_moved / 1e6:.0f}",
            f"{one.bytes_per_s / 1e9:.1f}",
            f"{one.flops / 1e9:.1f}",
            f"{one.flops_per_s / 1e9:.0f}",
        )
    console.print(table)
    for one in result.results:
        if one.kernels:
            console.print()
            console.print(_kernels_table(one))
    for name in result.skipped:
        console.print(f"[dim]{foreign(name)}: longer than the model's positions[/]")
