"""`llmbench workload`: what there is, what a spec will send, and a spec that is like a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import TerminalConsole, foreign
from .exits import say_text
from .output import AsJson, Quiet, write_text

if TYPE_CHECKING:
    from ...workloads.api import Plan, Told
    from ...workloads.fitting import FittedWorkload
    from ...workloads.spec import WorkloadSpec

workload = typer.Typer(
    help="See what a workload will send, list those that ship, make one that is like a trace.",
    no_args_is_help=True,
)

SHOW_EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench workload show azure-code",
        "llmbench workload show mine.yaml --num-requests 200 --plot mine.svg",
        "llmbench workload show trace.csv   [dim]a trace, as a run would replay it[/]",
        "llmbench workload show chat.yaml --model smollm2-135m   [dim]texts in its tokens[/]",
    )
)
FIT_EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench workload fit AzureLLMInferenceTrace_code.csv --out code.yaml",
        "llmbench workload fit runs/mine   [dim]a stored run[/]",
        "llmbench workload fit servegen --category language/m-large --request-rate 4",
    )
)
SCHEMA_EPILOG = "\n\n".join(
    ("[bold]Example[/]", "llmbench workload schema > workload.json   [dim]for an editor[/]")
)


@workload.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the workloads that ship."""
    from ...workloads.builtin import list_builtins

    specs = list_builtins()
    if as_json:
        from ..storage.json_text import json_text

        print(json_text([spec.model_dump(mode="json") for spec in specs]))
        return
    from rich.table import Table

    table = Table("workload", "arrivals", "what it is", box=None, pad_edge=False)
    for spec in specs:
        table.add_row(
            f"[bold]{foreign(spec.name)}[/]", spec.arrivals.kind, foreign(spec.description)
        )
    TerminalConsole().print(table)


@workload.command("show", epilog=SHOW_EPILOG)
def show(
    spec: Annotated[
        str, typer.Argument(help="A workload that ships, a YAML file, or a trace to replay.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Whose tokens and longest request count. Default: bundled, any length."),
    ] = None,
    num_requests: Annotated[
        int | None,
        typer.Option("--num-requests", "--num-prompts", help="How many; of a trace, the first."),
    ] = None,
    max_input_len: Annotated[int | None, typer.Option(help="Clip longer prompts.")] = None,
    max_output_len: Annotated[int | None, typer.Option(help="Clip longer outputs.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes sent.")] = 0,
    prompts: Annotated[int, typer.Option(help="Show the beginnings of so many prompts.")] = 3,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it, to a .png, .svg or .pdf file.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what a workload will send, before it is sent: rates over time, lengths, sessions, what
    prompts have in common, and how the first ones begin."""
    from ...engines.errors import ConfigError
    from ...workloads.preview import preview
    from .workload_progress import telling
    from .workload_tables import (
        PLOT_FORMATS,
        print_preview,
        print_prompts,
        print_too_long,
    )

    if plot is not None and plot.suffix.lower() not in PLOT_FORMATS:
        raise ConfigError("plot", str(plot), f"a file ending in {', '.join(PLOT_FORMATS)}")
    if prompts < 0:
        raise ConfigError("prompts", prompts, "0 or more")
    found = spec_of(spec, num_requests)
    with telling(quiet=quiet or as_json) as told:
        plan, decode, model_length = _planned(
            found, model, seed, max_input_len, max_output_len, told
        )
        seen = preview(plan, told)
        fingerprint = plan.fingerprint(told)
    too_long = sum(
        len(one.prompt_token_ids) + one.output_tokens > model_length for one in plan.requests
    )
    if as_json:
        from ..storage.json_text import json_text

        told = {"fingerprint": fingerprint, **seen.as_dict()}
        room = {"model_length_tokens": model_length, "requests_longer_than_model": too_long}
        print(json_text({"name": found.name, "seed": seed, **told, **room}))
    else:
        print_preview(found, seen, fingerprint)
        print_prompts(plan.requests[:prompts], decode)
        if too_long:
            print_too_long(found, too_long, len(plan.requests), model_length)
    if plot is not None:
        from ...reports.plots.workload import save_workload_plot
        from ..storage.whole_file import whole_file, writing

        with writing("plot", plot), whole_file(plot) as draft:
            save_workload_plot(
                draft,
                found.name,
                seen.bin_s,
                seen.rates_per_s,
                [len(one.prompt_token_ids) for one in plan.requests],
                [one.output_tokens for one in plan.requests],
                seen.arriving,
            )
        say_text(f"plot: {plot}")


@workload.command("fit", epilog=FIT_EPILOG)
def fit(
    trace: Annotated[
        Path,
        typer.Argument(
            help="A trace, a stored run, or ServeGen's data: a model's folder of chunks, or any "
            "above it (docs/workloads.md)."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the workload here, instead of printing it.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Of ServeGen: which service, as language/m-large.")
    ] = None,
    request_rate: Annotated[
        float | None, typer.Option(help="Of ServeGen: requests a second of all clients together.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a workload that is like a trace, and say how like it is: lengths and their correlation,
    rate, and burstiness, trace against fit."""
    from ...engines.errors import ConfigError
    from ...workloads.api import WorkloadError
    from ...workloads.load import spec_yaml
    from ...workloads.servegen import servegen_workload
    from ...workloads.traces.servegen_folder import WANTED, is_servegen
    from ..storage.whole_file import check_writable
    from .workload_tables import print_fit

    if out is not None:
        check_writable("out", out)
    is_place = out is not None and (out.is_file() or not out.exists())  # and no /dev/stdout
    if out is not None and is_place and out.suffix not in WORKLOAD_FORMATS:
        named = f"a name ending in {' or '.join(WORKLOAD_FORMATS)}, as no trace's does"
        raise ConfigError("out", str(out), named)
    fitted: FittedWorkload | None = None
    if is_servegen(trace):
        spec = servegen_workload(trace, category, request_rate)
    else:
        for name, given in (("category", category), ("request_rate", request_rate)):
            if given is not None and not trace.exists():
                raise WorkloadError("trace", trace, WANTED, "does not exist")
            if given is not None:
                raise ConfigError(name, given, f"{WANTED}, beside it")
        from ...workloads.fitting import fit_trace

        fitted = fit_trace(trace)
        spec = fitted.spec
    text = spec_yaml(spec)
    if as_json:
        from dataclasses import asdict

        from ..storage.json_text import json_text

        compared = [asdict(one) for one in fitted.compared] if fitted else []
        notes = list(fitted.notes) if fitted else []
        workload_ = spec.model_dump(mode="json")
        print(json_text({"workload": workload_, "compared": compared, "notes": notes}))
    elif fitted is not None:
        print_fit(fitted)
    if out is not None:
        write_text(out, text)
        say_text(f"workload: {out}")
    elif not as_json:
        print(text, end="")


@workload.command("schema", epilog=SCHEMA_EPILOG)
def schema() -> None:
    """Print the JSON Schema of workload files."""
    from ...workloads.spec import WorkloadSpec
    from ..storage.json_text import json_text

    print(json_text(WorkloadSpec.model_json_schema()))


def spec_of(name: str, num_requests: int | None) -> WorkloadSpec:
    """A workload by name, by file, or the replay of a trace. Raises WorkloadError."""
    from ...workloads.builtin import list_builtins, resolve_workload, trace_workload
    from ...workloads.overrides import with_overrides

    path = Path(name)
    built_in = name in {spec.name for spec in list_builtins()}
    is_trace = not built_in and path.exists() and path.suffix not in WORKLOAD_FORMATS
    spec = trace_workload(path) if is_trace else resolve_workload(name)
    return with_overrides(spec, num_requests=num_requests)


def _planned(
    spec: WorkloadSpec,
    model: str | None,
    seed: int,
    max_input_len: int | None,
    max_output_len: int | None,
    told: Told | None = None,
) -> tuple[Plan, Callable[..., str], int]:
    """The plan, what turns its tokens into text, and the tokens of the model's longest request. A
    model that nobody named limits nothing."""
    from ...engines.models.bundled import heldout_text
    from ...engines.models.catalogue import resolve_model
    from ...engines.models.describe import describe_model
    from ...engines.models.tokenizer import load_tokenizer
    from ...workloads.api import LengthLimits, plan_workload
    from ..run.text_encoder import text_encoder

    files = resolve_model(model or "bundled", say_text)
    tokenizer = load_tokenizer(files.directory)
    longest = describe_model(files.directory, "auto").config.max_position_embeddings
    plan = plan_workload(
        spec,
        seed=seed,
        corpus_token_ids=tokenizer.encode(heldout_text(), add_special_tokens=False),
        limits=LengthLimits(
            max_input_len, max_output_len, ANY_LENGTH if model is None else longest
        ),
        vocab_size=tokenizer.vocab_size,
        encoder=text_encoder(tokenizer, files.directory),
        told=told,
    )
    return plan, tokenizer.decode, longest


ANY_LENGTH = 1 << 40
WORKLOAD_FORMATS = (".yaml", ".yml")
