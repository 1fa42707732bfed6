"""`llmbench eval`: scores of tasks, by lm-eval with an engine as its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.quantization.methods import quant_of
from ..options.run import with_run_options
from .console import TerminalConsole, foreign, numbers
from .exits import say
from .output import AsJson, Quiet, write_text

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..tasks.evaluate import Evaluation

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench eval bundled --tasks continuation   [dim]made from held-out text, no hub[/]",
        "llmbench eval smollm2-135m --quant awq --tasks continuation,my_task.yaml --limit 100",
        "llmbench eval smollm2-135m --quant awq --tasks hellaswag   [dim]data from the hub[/]",
        "Needs lm-eval: pip install 'llmbench\\[lm-eval]'. Its tasks: lm-eval ls tasks",
    )
)
# Tasks make their own requests.
_NO_LOAD = (
    *("model", "workload", "trace", "time_scale", "num_requests", "request_rate"),
    *("max_concurrency", "arrival", "max_input_len", "max_output_len", "samples"),
    *(
        "shared_prefix_len",
        "warmup_requests",
        "slo",
        "price_per_hour",
        "quality_tokens",
        "quality_reference",
        "verify_kernels",
    ),
)

Tasks = Annotated[
    str,
    typer.Option(
        help="continuation (pick the true continuation of held-out text, or of --corpus), tasks of "
        "lm-eval by name, YAML files; after commas.",
        rich_help_panel="Tasks",
    ),
]
Limit = Annotated[
    int | None, typer.Option(help="Documents of each task at most.", rich_help_panel="Tasks")
]


@with_run_options(without=_NO_LOAD)
def eval_(
    settings: RunConfig,
    model: Annotated[
        str,
        typer.Argument(
            help="A name from 'llmbench models', a Hugging Face directory, or a hub id."
        ),
    ],
    tasks: Tasks = "continuation",
    limit: Limit = None,
    out: Annotated[Path, typer.Option(help="The result, JSON.", rich_help_panel="Output")] = Path(
        "eval.json"
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score tasks through EleutherAI's lm-eval, with an engine as its model.

    Every score has its standard error; compare methods only by differences well above it.
    """
    from dataclasses import replace

    from ..storage.json_text import json_text
    from ..storage.whole_file import check_writable
    from ..tasks.evaluate import evaluate, find_tasks
    from .progress import watching

    check_writable("out", out)
    settings = replace(settings, model=model)
    with watching(quiet=quiet or as_json) as watch:
        found = find_tasks(tasks, settings.load.corpus, seed=settings.seed, limit=limit)
        result = evaluate(settings, found, watch.stage)
    text = json_text(result.as_json()) + "\n"
    write_text(out, text)
    if as_json:
        print(text, end="")
    else:
        _print(result)
        say(f"\n[bold]result[/]  {foreign(out)}")


def _print(result: Evaluation) -> None:
    console = TerminalConsole()
    settings = result.settings
    console.print(
        f"[bold]{foreign(result.model)}[/] {foreign(settings['engine'])}, "
        f"quant {quant_of(settings)}, "
        f"{settings['dtype']} on {settings['device']}; lm-eval {result.lm_eval}"
    )
    table = numbers("task", "metric", "score", "± stderr", "documents", words=("metric",))
    for one in result.scores:
        error = "" if one.stderr is None else f"{one.stderr:.4f}"
        table.add_row(
            foreign(one.task), foreign(one.metric), f"{one.value:.4f}", error, str(one.samples)
        )
    console.print(table)
    if result.caveat:
        console.print(f"[yellow]caveat[/] {foreign(result.caveat)}")
