"""Live progress on a terminal, and a line now and then where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ...reports.format import duration
from ..run.drive import Progress as Served
from ..run.watch import Silent, Watch
from .console import TerminalConsole, foreign

# Seconds between two lines of one stage in a log.
BETWEEN_LINES_S = 30.0


class Lines:
    """A line a stage on standard error, for logs, and in a long one every half minute how far it
    is."""

    def __init__(self, console: TerminalConsole, now: Callable[[], float] = monotonic) -> None:
        self._console, self._now = console, now
        self._began_s = self._told_s = now()

    def stage(self, text: str) -> None:
        self._began_s = self._told_s = self._now()
        # A command in it is copied whole: the terminal breaks it, if anyone does.
        self._console.print(foreign(text), soft_wrap=True)

    def progress(self, progress: Served) -> None:
        """By the time that whoever waits has waited: a simulation's own is another."""
        now_s = self._now()
        if now_s - self._told_s < BETWEEN_LINES_S or not progress.finished:
            return
        self._told_s = now_s
        each_s = (now_s - self._began_s) / progress.finished
        left = duration(round(each_s * (progress.total - progress.finished)))
        done = f"{progress.finished} of {progress.total} requests"
        self._console.print(f"  {done}, about {left} left", soft_wrap=True)


class Bar:
    """Stages, and a bar with requests done, tokens a second and time left."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._shown_s = -1.0

    def stage(self, text: str) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(text, total=None, rate="")
        # Each counts its seconds from its own start.
        self._shown_s = -1.0

    def progress(self, progress: Served) -> None:
        # Ten times a second is smooth; more would cost the engine time.
        finished = progress.finished == progress.total
        if self._task is None or (progress.elapsed_s - self._shown_s < 0.1 and not finished):
            return
        self._shown_s = progress.elapsed_s
        rate = progress.output_tokens / progress.elapsed_s if progress.elapsed_s else 0.0
        self._bar.update(
            self._task,
            completed=progress.finished,
            total=progress.total,
            rate=f"{progress.finished}/{progress.total} requests · {rate:.0f} tokens/s",
        )


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """The watch that fits where standard error goes."""
    console = TerminalConsole(file=sys.stderr)
    if quiet:
        yield Silent()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bar:
            yield Bar(bar)
