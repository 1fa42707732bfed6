"""The bar on a terminal."""

from __future__ import annotations

import io

from llmbench.harness.cli.progress import Bar
from llmbench.harness.run.drive import Progress as Served
from rich.console import Console
from rich.progress import Progress


def test_every_stage_moves_the_bar_from_its_own_start() -> None:
    """A warm-up took 9 s; the seconds of what is measured begin at 0."""
    drawn = Progress(console=Console(file=io.StringIO(), force_terminal=True))
    bar = Bar(drawn)
    shown = []
    for stage, times_s in (("warming up", (0.5, 9.0)), ("measuring", (0.5, 0.55, 1.0))):
        bar.stage(stage)
        for finished, elapsed_s in enumerate(times_s, 1):
            bar.progress(Served(finished, 10, finished * 8, elapsed_s))
            (task,) = drawn.tasks
            shown.append((task.description, task.completed))
    assert shown == [
        ("warming up", 1),
        ("warming up", 2),
        ("measuring", 1),
        ("measuring", 1),  # less than a tenth of a second later
        ("measuring", 3),
    ]
