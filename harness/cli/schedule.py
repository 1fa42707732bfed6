"""`llmbench schedule`: what an engine does with a few requests, step by step, with no model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...engines.errors import ConfigError, MissingError
from .console import TerminalConsole

if TYPE_CHECKING:
    from ..schedule.result import Schedule
    from ..schedule.scenario import Scenario

View = Literal["table", "timeline", "lines"]

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench schedule preemption   [dim]a scenario that ships[/]",
        "llmbench schedule preemption --compare vllm-v0,vllm-v1,trtllm   [dim]side by side[/]",
        "llmbench schedule --example > mine.json   [dim]one to start from[/]",
        "llmbench schedule mine.json --engine trtllm --set admission=optimistic --view timeline",
        "llmbench schedule mine.json --json   [dim]for a test, or a bug report[/]",
    )
)


def schedule(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A JSON file, - for standard input, or a scenario that ships: "
            "parallel-samples, preemption, prefill-interference, prefix-sharing, reservation."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Another preset, instead of the scenario's engine and its changes."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting of the engine, a limit or the pool, as in admission=reserve, "
            "max_num_seqs=2 or pool_blocks=8. Repeat it for more.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Presets, separated by commas: the schedule of each, one below another."),
    ] = None,
    view: Annotated[
        View | None,
        typer.Option(
            help="table: a row a step. timeline: a row a request, a column a step. lines: a short "
            "line a step. Default: table; with --compare, timeline."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the result as JSON on standard output; with --compare, a list."
        ),
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented scenario to start from.")
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON Schema of scenarios; with --json, of the output."
        ),
    ] = False,
) -> None:
    """Show what an engine's scheduler does with a few requests: each step's prefills, decodes,
    preempted, refused and waiting requests, and the KV cache.

    No model is run: requests are lengths, and any preset decides as it would in a real run.
    """
    if example:
        if as_json:
            raise ConfigError("json", True, "not with --example, whose comments no JSON has")
        from ..schedule.example import EXAMPLE

        print(EXAMPLE, end="")
        return
    if schema:
        _print_schema(of_output=as_json)
        return
    found = _schedules(_read(scenario), engine, settings or [], compare)
    if as_json:
        from ..schedule.result import list_to_json, to_json

        print(to_json(found[0]) if compare is None else list_to_json(found))
        return
    _show(found, view or ("table" if compare is None else "timeline"))


def _print_schema(*, of_output: bool) -> None:
    from ..schedule.result import json_schema
    from ..schedule.scenario import Scenario
    from ..storage.json_text import json_text

    print(json_text(json_schema() if of_output else Scenario.model_json_schema()))


def _read(source: str | None) -> Scenario:
    from ..schedule.read import load_scenario, parse_text, shipped

    if source is None:
        allowed = f"a file, - for standard input, or one of {', '.join(shipped())}"
        raise MissingError("scenario", allowed)
    if source == "-":
        return parse_text(sys.stdin.buffer.read(), "standard input")
    return load_scenario(Path(source))


def _schedules(
    scenario: Scenario, engine: str | None, settings: list[str], compare: str | None
) -> list[Schedule]:
    """One, or one for each preset to compare. All are checked before any is printed."""
    from ..schedule.read import with_engine, with_settings
    from ..schedule.run import schedule as run

    if compare is not None and engine is not None:
        raise ConfigError("engine", engine, "nothing beside --compare, which names engines itself")
    presets = [engine] if compare is None else [name.strip() for name in compare.split(",")]
    changes = dict(map(_setting, settings))
    chosen = [with_engine(scenario, name) if name is not None else scenario for name in presets]
    return [run(with_settings(one, changes) if changes else one) for one in chosen]


def _setting(text: str) -> tuple[str, object]:
    """NAME=VALUE; a value that is no JSON is a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("set", text, "NAME=VALUE, as in admission=reserve")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()


def _show(schedules: list[Schedule], view: View) -> None:
    """100 columns, or as many as the terminal has; colours on a terminal only."""
    from rich.text import Text

    from ..schedule import table, timeline

    console = TerminalConsole(width=100)
    with console.capture() as captured:
        if about := schedules[0].scenario.about:
            console.print(Text(about), style="dim")
        for place, found in enumerate(schedules):
            if place or about:
                console.print()
            console.print(Text(table.heading(found)), style="bold")
            if view == "lines":
                for step, text in zip(found.steps, found.lines, strict=True):
                    console.print(Text(f"{step.index:4}  {text}"))
            elif view == "timeline":
                console.print(*timeline.render(found, console.width), sep="\n")
            else:
                console.print(table.steps_table(found))
            if len(schedules) == 1:
                console.print()
                console.print(table.requests_table(found))
            console.print(Text(table.totals(found)))
            for note in table.notes(found):
                console.print(Text(note), style="yellow")
        if view == "timeline":
            console.print()
            console.print(*timeline.legend(schedules, console.width), sep="\n")
    # A table pads its last column.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
