"""`llmbench quantize`: a model into a published quantised checkpoint."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Annotated

import typer

from .console import TerminalConsole, foreign
from .exits import Exit, say, say_error
from .quantize_progress import shown

if TYPE_CHECKING:
    from ..quality.quantize import Prepared, Quantized

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench quantize smollm2-135m --method gptq --group-size 64 --out smollm2-gptq",
        "llmbench quantize bundled --method gptq --bits 8 --no-act-order --format "
        "compressed-tensors --out bundled-w8",
        "llmbench quantize MODEL --method awq --calibration texts.jsonl --samples 16 --out DIR",
        "llmbench quantize MODEL --method gptq --calibration wikitext:wikitext-2-raw-v1 "
        "--samples 128 --sequence-length 2048 --out DIR",
        "llmbench quantize MODEL --method smoothquant --out DIR",
        "llmbench run --model smollm2-gptq   [dim]runs what was made[/]",
    )
)


def quantize(
    model: Annotated[
        str, typer.Argument(help="A model's name, a directory or a hub id, not quantised yet.")
    ],
    out: Annotated[Path, typer.Option(help="The directory to write.", rich_help_panel="Output")],
    method: Annotated[
        str,
        typer.Option(
            help="gptq, awq, smoothquant and fp8-static look at activations; rtn, int8, w8a8, fp8, "
            "fp8-block, nvfp4 and mxfp4 round weights as they are.",
            rich_help_panel="Method",
        ),
    ] = "gptq",
    bits: Annotated[
        int | None,
        typer.Option(help="Of a weight: 4, or 8 with gptq and rtn.", rich_help_panel="Method"),
    ] = None,
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Inputs that share a scale; -1: all of a row. One that does not divide them "
            "leaves a shorter group. Default: the largest of 128, 64 and 32 that divides.",
            rich_help_panel="Method",
        ),
    ] = None,
    symmetric: Annotated[
        bool | None,
        typer.Option(
            "--symmetric/--asymmetric",
            help="Without or with zero points. Default: with them for awq and rtn.",
            rich_help_panel="Method",
        ),
    ] = None,
    act_order: Annotated[
        bool | None,
        typer.Option(
            "--act-order/--no-act-order",
            help="GPTQ: columns in the order of their activations, the default, or as they stand.",
            rich_help_panel="Method",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help='A text file, a .jsonl file with "text", "messages" or "conversations" in each '
            "line, a .json file in ShareGPT's form, or a data set, NAME[:CONFIG[:SPLIT]]. Default: "
            "the public-domain text that ships.",
            rich_help_panel="Calibration",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Windows, all of which must be there. Default: as many as there are, up to 128 "
            "(gptq), 8 (awq) or 64.",
            rich_help_panel="Calibration",
        ),
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Tokens of a window. Default: 2048 with gptq, 512 otherwise.",
            rich_help_panel="Calibration",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="gptq, gptq_v2, awq or compressed-tensors. Default: the method's own, or "
            "compressed-tensors.",
            rich_help_panel="Output",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on after the last finished layer of the same command.",
            rich_help_panel="Output",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a quantised model at --out, once the new one is whole.",
            rich_help_panel="Output",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Method")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", rich_help_panel="Method")
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel="Output"),
    ] = False,
) -> Exit:
    """Quantise a model, layer by layer, into a checkpoint that other engines load, too.

    In memory are one layer and the calibration tokens' activations (with gptq twice, and three
    square matrices of a layer's widest input). An interrupted run leaves what was at --out, and its
    finished layers for --resume. The same command gives the same weights with as many threads.
    """
    import torch

    from ..config import check_threads
    from ..quality.quantize import QuantizeConfig, prepare
    from ..quality.quantize import quantize as run

    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    report = _silent if quiet else say
    config = QuantizeConfig(
        model,
        method,
        out,
        bits,
        group_size,
        symmetric,
        act_order,
        calibration,
        samples,
        sequence_length,
        format,
        device,
        resume,
        overwrite,
    )
    with prepare(config, report) as prepared:
        report(_plan(prepared))
        try:
            with _ended_like_ctrl_c(), shown(quiet=quiet) as progress:
                made = run(prepared, progress.layer, progress.written, report)
        except KeyboardInterrupt:
            say_error(_how_to_go_on(prepared))
            return Exit.INTERRUPTED
    _print(prepared, made)
    return Exit.OK


def _silent(_line: str) -> None: ...


def _plan(prepared: Prepared) -> str:
    scheme = prepared.scheme
    groups = f", groups of {scheme.group_size}" if scheme.group_size else ""
    zeros = "" if scheme.symmetric else ", zero points"
    order = ", act order" if scheme.act_order else ""
    text = f"{prepared.files.name}: {scheme.method}, {scheme.bits} bits{groups}{zeros}{order}"
    if prepared.windows is not None:
        samples, length = prepared.windows.shape
        text += f"; calibrated on {samples} windows of {length} tokens"
    return text


def _how_to_go_on(prepared: Prepared) -> str:
    from ..quality.quantize import unfinished_layers

    done = unfinished_layers(prepared)
    if done == 0:
        return "interrupted before a layer was finished; nothing was written"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    command = shlex.join(["llmbench", *words, "--resume"])
    layers = prepared.config.num_layers
    return f"interrupted after {done} of {layers} layers; this goes on: {command}"


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, as batch systems send it: it, too, is answered with how to go on."""
    if current_thread() is not main_thread():  # where Python sets no handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(prepared: Prepared, made: Quantized) -> None:
    from rich.table import Table

    from ...engines.quantization.methods import find_method
    from ...reports.format import rounded_percent

    console = TerminalConsole()
    if made.report:
        baseline = find_method(prepared.scheme.method).baseline
        table = Table("layer", prepared.scheme.method, baseline, "of it", "", box=None)
        for column in table.columns[:4]:
            column.justify = "right"
        for layer in made.report:
            share = rounded_percent(layer.loss / layer.rtn_loss) if layer.rtn_loss else "-"
            losses = (f"{layer.loss:.3g}", f"{layer.rtn_loss:.3g}")
            table.add_row(str(layer.layer + 1), *losses, share, foreign(layer.note))
        console.print("mean squared error of each layer's output")
        console.print(table)
        console.print()
    minutes, seconds = divmod(round(made.seconds), 60)
    taken = f"{minutes} min {seconds} s" if minutes else f"{made.seconds:.1f} s"
    console.print(
        f"[bold]{prepared.format}[/]  {made.bytes / 1e6:.1f} MB, "
        f"{made.bytes_before / made.bytes:.2f} times smaller, in {taken}: {foreign(made.out)}"
    )
    if prepared.format == "compressed-tensors" and not prepared.scheme.symmetric:
        say(
            "[dim]note: transformers (5.23) loads zero points in compressed-tensors only with "
            "CompressedTensorsConfig(dequantize=True); --symmetric has none[/]"
        )
    if prepared.files.caveat:
        say(f"[dim]note: {foreign(prepared.files.caveat)}[/]")
