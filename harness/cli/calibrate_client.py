"""`llmbench calibrate-client`: how wrong the load client is, and how much it can take, here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .exits import Exit, say_error, say_text

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench calibrate-client   [dim]two minutes; runs of servers then carry the error[/]",
        "llmbench calibrate-client --limit   [dim]how much one process can take[/]",
        "llmbench calibrate-client --processes 2 --out two.json",
        "llmbench run --target openai --base-url http://127.0.0.1:8000 "
        "--client-calibration two.json",
    )
)


def calibrate_client(
    out: Annotated[
        Path | None,
        typer.Option(help="Where it is written. Default: where 'llmbench run' looks for it."),
    ] = None,
    processes: Annotated[int, typer.Option(help="Of the client.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long each load is sent.")] = 4.0,
    limit: Annotated[
        bool,
        typer.Option(
            "--limit", help="Only say the largest load within the client's limits; write nothing."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the arrivals and the mock server.")] = 0,
) -> None:
    """Measure the client's own error in TTFT, ITL and E2EL by load, against a server of known
    truth: the mock server on one core, the client on the others."""
    from ...engines.errors import ConfigError
    from ..client.calibrate import GRID, calibrate_client, largest_within
    from ..client.calibration import default_path
    from ..storage.json_text import json_text
    from ..storage.whole_file import check_writable, write_whole, writing

    if not 0 < seconds <= 60:
        raise ConfigError("seconds", seconds, "more than 0, at most 60")
    path = out or default_path()
    if not limit:
        check_writable("out", path)
    try:
        found = calibrate_client(GRID, say_text, seconds=seconds, processes=processes, seed=seed)
    except KeyboardInterrupt:
        say_error("interrupted before every load was measured: nothing is saved")
        raise typer.Exit(Exit.INTERRUPTED) from None
    within = largest_within(found)
    if within is None:
        print("no load was within the client's limits: is the machine busy with something else?")
    else:
        print(
            f"{processes} process(es) on {found.cpu}: {within.chunks_per_s:.0f} chunks/s, "
            f"{within.streams:.0f} streams, {within.requests_per_s:.0f} requests/s within limits"
        )
    if limit:
        return
    with writing("out", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json_text(found.as_json()) + "\n")
    say_text(f"written to {path}")
