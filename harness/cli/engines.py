"""`llmbench engines`: the presets and what they stand for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer


def engines(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the engines: which choice each makes on every axis, and what it stands for."""
    from ...engines.presets import PRESETS

    if as_json:
        import json

        print(json.dumps([asdict(preset) for preset in PRESETS], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "batching", "admission", "kv", "stands for", box=None, pad_edge=False)
    for preset in PRESETS:
        names = " = ".join((preset.name, *preset.aliases))
        kv = f"paged, {preset.block_size}" if preset.kv == "paged" else f"{preset.kv}, max"
        table.add_row(f"[bold]{names}[/]", preset.batching, preset.admission, kv, preset.stands_for)
    console = Console()
    console.print(table)
    console.print(
        "\nOverride any axis: [bold]llmbench run --engine paged --batching mixed[/]", style="dim"
    )
