"""`llmbench engines`: the presets and what they stand for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from .console import TerminalConsole, foreign
from .output import AsJson

if TYPE_CHECKING:
    from ...engines.config import EngineConfig


def engines(as_json: AsJson = False) -> None:
    """List the engines: which choice each makes on every axis, and what it stands for."""
    from ...engines.config import engine_config
    from ...engines.presets import presets

    if as_json:
        from ..storage.json_text import json_text

        print(json_text([asdict(preset) for preset in presets()]))
        return
    from rich.table import Table

    console = TerminalConsole()
    table = Table("engine", "batching", "admission", "kv", "also", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # a name that is cut cannot be typed
    for preset in presets():
        engine = engine_config(preset.name)
        names = " = ".join((preset.name, *preset.aliases))
        table.add_row(
            f"[bold]{foreign(names)}[/]",
            *map(foreign, (_batching(engine), engine.admission, _kv(engine), _also(engine))),
        )
    console.print(table)
    meanings = Table(box=None, pad_edge=False, show_header=False)
    for preset in presets():
        meanings.add_row(f"[bold]{foreign(preset.name)}[/]", foreign(preset.stands_for))
    console.print("\nStands for")
    console.print(meanings)
    console.print(
        "\nOverride any axis: [bold]llmbench run --engine paged --batching mixed[/]", style="dim"
    )


def _batching(engine: EngineConfig) -> str:
    return f"mixed, {engine.mixing}" if engine.batching == "mixed" else engine.batching


def _kv(engine: EngineConfig) -> str:
    if engine.kv == "paged":
        return f"paged, {engine.block_size}"
    return f"contiguous, {engine.kv_reservation or 'max'}"


def _also(engine: EngineConfig) -> str:
    """What else an engine is known by."""
    said = {
        "prefix cache": engine.prefix_cache,
        f"{engine.arena} arena": engine.arena is not None,
        "whole prompts": engine.batching == "mixed" and not engine.chunked_prefill,
        "whole prompt must fit": engine.whole_prompt_fits,
        f"steps of {engine.max_num_batched_tokens}": engine.max_num_batched_tokens is not None,
        "groups swapped": engine.preemption == "auto",
        "all swapped": engine.preemption == "swap",
    }
    return ", ".join(text for text, true in said.items() if true)
