"""The bar on a terminal, and the lines of a log."""

from __future__ import annotations

import io

from llmbench.harness.cli.console import TerminalConsole
from llmbench.harness.cli.progress import BETWEEN_LINES_S, Bar, Lines
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


def test_a_long_stage_says_now_and_then_in_a_log_how_far_it_is() -> None:
    """Known wrong here: "measuring 2000 requests", and nothing for three minutes."""
    written, now_s = io.StringIO(), [100.0]
    lines = Lines(TerminalConsole(file=written), lambda: now_s[0])
    lines.stage("measuring")
    for finished, waited_s in ((0, 31), (400, 32), (401, 33), (800, 64), (801, 65)):
        now_s[0] = 100.0 + waited_s
        # Of a simulation, whose own time is no one's.
        lines.progress(Served(finished, 2000, 9, elapsed_s=1e4 * waited_s))
    now_s[0] += BETWEEN_LINES_S
    lines.stage("summarising")
    lines.progress(Served(2000, 2000, 9, elapsed_s=0.0))
    assert written.getvalue().splitlines() == [
        "measuring",
        "  400 of 2000 requests, about 2 min 8 s left",
        "  800 of 2000 requests, about 96 s left",
        "summarising",
    ]
