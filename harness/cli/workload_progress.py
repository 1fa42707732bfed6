"""How far a workload's plan is, where that takes long: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...reports.format import count
from .console import TerminalConsole

if TYPE_CHECKING:
    from ...workloads.api import Told

# What is over sooner needs no progress, and a log no line for it.
_FIRST_S = 1.0
_LINE_S = 5.0


@contextmanager
def telling(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Told]:
    """What is told of progress, and shows it where standard error goes."""
    console = TerminalConsole(file=sys.stderr, soft_wrap=True)
    if quiet:
        yield lambda _what, _done, _of: None
    elif not console.is_terminal:
        yield _lines(console, clock)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", visible=False)
            begun_s: float | None = None

            def show(what: str, done: int, of: int) -> None:
                nonlocal begun_s
                begun_s = clock() if begun_s is None else begun_s
                visible = clock() - begun_s > _FIRST_S
                bar.update(task, description=what, completed=done, total=of, visible=visible)

            yield show


def _lines(console: TerminalConsole, clock: Callable[[], float]) -> Told:
    next_s: float | None = None

    def say(what: str, done: int, of: int) -> None:
        nonlocal next_s
        # From the first word on: how long a model took to load says nothing of the plan.
        next_s = clock() + _FIRST_S if next_s is None else next_s
        if done < of and clock() >= next_s:
            next_s = clock() + _LINE_S
            console.print(f"{what}: {count(done)} of {count(of)}")

    return say
