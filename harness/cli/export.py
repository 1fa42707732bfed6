"""`llmbench export`: a run in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import say
from .output import write_text

if TYPE_CHECKING:
    from ..interchange.vllm_export import TextOf
    from ..storage.store import StoredRun

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench export runs/paged --format vllm --out paged.json",
        "llmbench export runs/paged --format github-action > benchmark.json",
        "llmbench export runs/paged --format csv | column -s, -t",
        "llmbench export runs/paged --format perfetto --out trace.json.gz   [dim]open it at "
        "ui.perfetto.dev[/]",
    )
)


def export(
    run: Annotated[Path, typer.Argument(help="Directory of a run.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="vllm, aiperf, github-action (smaller is better), github-action-bigger, csv, or "
            "perfetto: a trace of steps and requests.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The file, compressed if it ends in .gz. Default: standard output."),
    ] = None,
    allow_invalid: Annotated[
        bool, typer.Option(help="Export a run that is not valid, too.")
    ] = False,
) -> None:
    """Write a run as another tool would have: its keys, its units, its definitions.

    Exit code 3 if the run is not valid.
    """
    from ...engines.errors import ConfigError
    from ..interchange import export as write
    from ..interchange.perfetto import write_trace
    from ..storage.store import RUN_FILES, load_run

    stored = load_run(run)
    if out is not None and out.resolve() in {stored.directory / name for name in RUN_FILES}:
        raise ConfigError("out", str(out), "another file than those of the run")
    if form == "perfetto" and out is not None:
        say(f"[bold]{form}[/]  {foreign(write_trace(stored, out))}")
        return
    text_of = _decoder(stored) if form == "vllm" else None
    text = write(stored, form, text_of=text_of, allow_invalid=allow_invalid)
    if out is None:
        print(text, end="")
        return
    write_text(out, text)
    say(f"[bold]{form}[/]  {foreign(out)}")


def _decoder(stored: StoredRun) -> TextOf | None:
    """The model's tokenizer, where it is on this machine: nothing is fetched for an export."""
    from ...engines.models.catalogue import list_models, resolve_model
    from ...engines.models.tokenizer import load_tokenizer

    name = str(stored.result.config["model"])
    here = Path(name).is_dir() or any(one.name == name and one.present for one in list_models())
    if not here or not any(len(ids) for ids in stored.requests["output_token_ids"]):
        return None
    return load_tokenizer(resolve_model(name, lambda _: None).directory).decode
