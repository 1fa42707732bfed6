"""`llmbench explain`: where a run's latency went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import say

if TYPE_CHECKING:
    from ..storage.store import StoredRun

DEFAULT_TOKENS = 10

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench explain runs/demo   [dim]means, the middle and the slowest[/]",
        "llmbench explain runs/demo --slowest 10   [dim]requests and tokens, one by one[/]",
        "llmbench explain runs/demo --request r17   [dim]its first token and its slow ones[/]",
        "llmbench explain runs/demo --json",
    )
)


def explain(
    run: Annotated[Path, typer.Argument(help="Directory of a run.")],
    request: Annotated[
        str | None, typer.Option(help="One request: its TTFT, its TPOT and its slow tokens.")
    ] = None,
    slowest: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The slowest requests to their first token, and tokens; how many. "
            f"With --request: how many of its slow tokens (default {DEFAULT_TOKENS}).",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the result as JSON on standard output; times are in seconds."
        ),
    ] = False,
) -> None:
    """Split latency into queue, prefill, decode, preemption and host: the parts sum to what was
    measured, and the residual is shown."""
    from ...engines.errors import ConfigError
    from ..attribution.explain import explain_request, explain_slowest
    from ..storage.store import load_run
    from ..tables.requests import records_of
    from . import parts_tables

    stored = load_run(run)
    if stored.steps.empty and stored.result.counters.requests_ok:
        allowed = "a run of an engine of ours: the steps of a server or a library are not seen"
        raise ConfigError("run", str(run), allowed)
    if request is None and slowest is None:
        _explain_run(stored, as_json=as_json)
        return
    records = records_of(stored.requests)
    if request is not None:
        found = explain_request(records, stored.steps, request, slowest or DEFAULT_TOKENS)
        show = parts_tables.print_request
    else:
        assert slowest is not None
        found = explain_slowest(records, stored.steps, slowest)
        show = parts_tables.print_slowest
    if as_json:
        print(found.model_dump_json(indent=2))
    else:
        show(found)  # pyright: ignore[reportArgumentType]


def _explain_run(stored: StoredRun, *, as_json: bool) -> None:
    from .parts_tables import print_attribution

    found = stored.result.attribution
    if not stored.result.validity.valid:
        say("[yellow]note[/] this run is not valid")
    if as_json:
        print("null" if found is None else found.model_dump_json(indent=2))
    elif found is None:
        say("no request was served: there is no latency to explain")
    else:
        print_attribution(found)
