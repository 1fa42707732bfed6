"""`llmbench engines`: the presets and what they stand for, or in which settings some differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.errors import ConfigError
from .console import TerminalConsole, foreign
from .exits import say_error
from .output import AsJson

if TYPE_CHECKING:
    from ...engines.config import EngineConfig
    from ...engines.presets import Preset


Named = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ENGINE",
        help="Two or more: print only the settings in which they differ.",
        show_default=False,
    ),
]


def engines(named: Named = None, as_json: AsJson = False) -> None:
    """List the engines: which choice each makes on every axis, and what it stands for.

    Name two or more to see only the settings in which they differ, such as vllm-v1 trtllm.
    """
    if named:
        from ...engines.config import engine_config

        _print_differences([engine_config(name) for name in named], as_json=as_json)
        return
    usable, problems = engines_here()
    for problem in problems:
        say_error(problem)
    if as_json:
        from ..storage.json_text import json_text

        print(json_text([asdict(preset) for preset, _ in usable]))
        return
    from rich.table import Table

    console = TerminalConsole()
    table = Table("engine", "batching", "admission", "kv", "also", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"  # a name that is cut cannot be typed
    for preset, engine in usable:
        names = " = ".join((preset.name, *preset.aliases))
        table.add_row(
            f"[bold]{foreign(names)}[/]",
            *map(foreign, (_batching(engine), engine.admission, _kv(engine), _also(engine))),
        )
    console.print(table)
    meanings = Table(box=None, pad_edge=False, show_header=False)
    for preset, _ in usable:
        meanings.add_row(f"[bold]{foreign(preset.name)}[/]", foreign(preset.stands_for))
    console.print("\nStands for")
    console.print(meanings)
    console.print(
        "\nOverride any axis: [bold]llmbench run --engine paged --batching mixed[/]", style="dim"
    )


def engines_here() -> tuple[list[tuple[Preset, EngineConfig]], list[ConfigError]]:
    """Every engine with its settings; and why those that plug-ins would bring cannot be used."""
    from ...engines.config import engine_config
    from ...engines.presets import presets, unusable_plugins

    problems = list(unusable_plugins())
    usable: list[tuple[Preset, EngineConfig]] = []
    for preset in presets():
        try:
            usable.append((preset, engine_config(preset.name)))
        except ConfigError as error:
            problems.append(error)
    return usable, problems


def _print_differences(engines: Sequence[EngineConfig], *, as_json: bool) -> None:
    if len(engines) < 2:
        raise ConfigError("engines", engines[0].engine, "two or more to compare, or none to list")
    found = [_settings_read(engine) for engine in engines]
    # None is a value, and not to read a setting is another.
    differing = [
        name
        for name in vars(engines[0])
        if len({(name in one, one.get(name)) for one in found}) > 1
    ]
    if as_json:
        from ..storage.json_text import json_text

        together = {one.engine: settings for one, settings in zip(engines, found, strict=True)}
        rows = {
            name: {engine: one[name] for engine, one in together.items() if name in one}
            for name in differing
        }
        print(json_text(rows))
        return
    console = TerminalConsole()
    if not differing:
        console.print("no setting differs")
        return
    from rich.table import Table

    table = Table("setting", *(foreign(one.engine) for one in engines), box=None, pad_edge=False)
    for name in differing:
        values = (_shown(one[name]) if name in one else "-" for one in found)
        table.add_row(f"[bold]{name}[/]", *map(foreign, values))
    console.print(table)
    console.print("\n-: this engine does not read the setting", style="dim")


def _settings_read(engine: EngineConfig) -> dict[str, object]:
    """By name, without the engine's own name and what it stands for."""
    from ...engines.reads import why_unread
    from ...engines.resolved import contiguous_defaults, cut_defaults

    steps = cut_defaults(engine, engine.max_num_batched_tokens)
    settings = vars(engine) | contiguous_defaults(engine) | steps
    called = {"engine", "stands_for"}
    return {
        name: value
        for name, value in settings.items()
        if name not in called and not why_unread(name, settings)
    }


def _shown(value: object) -> str:
    match value:
        case None:
            return "default"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


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
