"""`llmbench kernels bench`: implementations timed against each other and against the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...reports.format import number, percent
from .console import TerminalConsole, foreign
from .exits import Exit, say, say_text
from .kernel_options import Device, Kernels, Ops, device_named, dtypes_named, ops_named
from .output import AsJson

_MOST = 1_000_000

if TYPE_CHECKING:
    from ...kernels.bench import Timing
    from ...kernels.rates import Rates
    from ...kernels.specs.spec import StepShape
    from ..bench.kernel_bench import KernelResult

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench kernels bench --op linear --batch 1,8",
        "llmbench kernels bench --shape-set llama-3-8b --context 4096 --out llama.json",
        "llmbench kernels bench --kernel silu_mul=gates.py   [dim]yours against the others[/]",
    )
)


def bench(
    op: Ops = None,
    kernel: Kernels = None,
    shape_set: Annotated[
        str, typer.Option(help="Whose sizes: smollm2 (135M) or llama-3-8b.")
    ] = "smollm2",
    batch: Annotated[
        str, typer.Option(help="Sequences of a decode step, one or more as 1,8; 0 for none.")
    ] = "1,8",
    context: Annotated[int, typer.Option(help="Tokens of each in the KV cache.")] = 512,
    prompt: Annotated[
        int, typer.Option(help="New tokens of a prefill step; 0 for no such step.")
    ] = 512,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "bfloat16",
    device: Device = "auto",
    turns: Annotated[int, typer.Option(help="Each implementation's, of about 10 ms.")] = 9,
    reference: Annotated[bool, typer.Option(help="Time the references, too.")] = False,
    as_json: AsJson = False,
    out: Annotated[
        Path | None, typer.Option(help="A file for the result, as JSON with the environment.")
    ] = None,
) -> None:
    """Time implementations in turns; print what each reaches of the machine's limit.

    The limit of a call is the larger of its bytes over bandwidth and its FLOPs over the rate of a
    large product, all measured first. Weights and KV cache come from memory (cold), activations
    from cache (warm).
    """
    from ...engines.errors import unknown_name
    from ...kernels.choices import resolve_choices
    from ...kernels.specs.spec import MODEL_SHAPES
    from ..bench.kernel_bench import KernelBench, run_kernel_bench, write_result
    from ..storage.whole_file import check_writable

    if shape_set not in MODEL_SHAPES:
        raise unknown_name("shape_set", shape_set, MODEL_SHAPES)
    chosen = resolve_choices(kernel or ())
    asked = KernelBench(
        ops=ops_named(op, chosen),
        model=MODEL_SHAPES[shape_set],
        steps=_steps(batch, context, prompt),
        dtype=dtypes_named([dtype])[0],
        device=device_named(device),
        turns=_within("turns", turns, 1),
        with_reference=reference,
    )
    if out is not None:
        check_writable("out", out)
    result = run_kernel_bench(asked, lambda text: say(f"[dim]{foreign(text)}[/]"))
    if out is not None:
        write_result(out, result)
    if as_json:
        print(result.as_json(), end="")
    else:
        _print(result)
    if result.alone is not None and not result.alone.ok:
        say(f"[yellow]caution[/] {foreign(result.alone.told)}")
    if out is not None and not as_json:
        say_text(f"written to {out}")
    raise typer.Exit(Exit.INTERRUPTED if result.partial else Exit.OK)


def _steps(batch: str, context: int, prompt: int) -> list[StepShape]:
    from ...engines.errors import ConfigError
    from ...kernels.specs.spec import StepShape

    try:
        sizes = [int(one) for one in batch.split(",")]
    except ValueError as error:
        raise ConfigError("batch", batch, "numbers, as 1,8") from error
    _within("context", context, 1)
    _within("prompt", prompt, 0)
    steps = [StepShape(_within("batch", one, 1), context) for one in sizes if one != 0]
    if prompt:
        steps.append(StepShape(prompt=prompt))
    if not steps:
        raise ConfigError("batch", batch, "a step: --batch or --prompt above 0")
    return steps


def _within(name: str, value: int, least: int) -> int:
    from ...engines.errors import ConfigError

    if not least <= value <= _MOST:
        raise ConfigError(name, value, f"{least} or more, at most {_MOST:,}")
    return value


def _print(result: KernelResult) -> None:
    from rich.table import Table

    console = TerminalConsole()
    table = Table(box=None)
    for name in ("operation", "step", "case", "implementation"):
        table.add_column(name, no_wrap=True)
    for name in ("min µs", "median µs", "floor µs", "reached"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    last = None
    for one in _fastest_first(result.timings):
        at = (one.op, one.step, one.case)
        table.add_row(
            *((f"[bold]{one.op}[/]", one.step, one.case) if at != last else ("", "", "")),
            foreign(one.implementation),
            _us(one.min_s),
            _us(one.median_s),
            _us(one.floor_s),
            percent(one.of_floor),
            f"{one.bound}, {'cold' if one.cold else 'warm'}",
        )
        last = at
    console.print(table)
    for name, rates in result.rates.items():
        console.print(
            f"{foreign(result.device)}: memory {number(rates.memory_bytes_per_s / 1e9)} GB/s, "
            f"cache {_of_cache(rates)}, {name} products "
            f"{number(rates.flops_per_s / 1e9)} GFLOP/s, measured just before",
            style="dim",
        )
    for op, one in result.refused:
        console.print(
            f"{op}, {one.case}: {foreign(one.implementation)} not timed: {foreign(one.why)}"
        )


def _of_cache(rates: Rates) -> str:
    """Its bandwidth, and whether that is one."""
    told = f"{number(rates.cache_bytes_per_s / 1e9)} GB/s"
    return told if rates.cache_is_faster else f"{told} (not found faster than memory)"


def _fastest_first(timings: list[Timing]) -> list[Timing]:
    """Cases in the order they were timed, the fastest implementation of each first."""
    order = {(one.op, one.step, one.case): place for place, one in enumerate(timings)}
    return sorted(timings, key=lambda one: (order[one.op, one.step, one.case], one.min_s))


def _us(seconds: float) -> str:
    return number(seconds * 1e6)
