"""`llmbench models`: what can be run by name, and fetching it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .console import TerminalConsole, foreign
from .exits import say, say_text
from .output import AsJson

models = typer.Typer(
    help="List the models that have a name of their own, or fetch one.",
    invoke_without_command=True,
)


@models.callback()
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models that have a name of their own, or fetch one with 'pull'."""
    if context.invoked_subcommand is not None:
        return
    from ...engines.models.catalogue import list_models

    entries = list_models()
    if as_json:
        from ..storage.json_text import json_text

        print(json_text([asdict(entry) for entry in entries]))
        return
    from rich.table import Table

    table = Table("model", "", "what it is", box=None, pad_edge=False)
    for entry in entries:
        state = "[green]here[/]" if entry.present else "[yellow]to fetch[/]"
        table.add_row(f"[bold]{foreign(entry.name)}[/]", state, foreign(entry.description))
    console = TerminalConsole()
    console.print(table)
    console.print(
        "\nBesides: any directory or hub id of a decoder that transformers has.", style="dim"
    )


@models.command()
def pull(
    name: Annotated[str, typer.Argument(help="A model's name, such as smollm2-135m.")],
) -> None:
    """Fetch a model once and keep it, converted, in the cache.

    Example: llmbench models pull smollm2-135m
    """
    from ...engines.models.catalogue import resolve_model

    files = resolve_model(name, say_text)
    say_text(
        f"{files.name} is here: {files.directory}" + (f" ({files.revision})" * bool(files.revision))
    )
    if files.caveat:
        say(f"[dim]note: {foreign(files.caveat)}[/]")
