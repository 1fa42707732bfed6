"""How far a quantisation has come: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from .console import TerminalConsole

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ...engines.quantization.quantized import LayerReport

# Of the lines while a model is written: enough to see that it goes on, few enough to read.
_LINES = 10


class Shown(Protocol):
    """What is told of each step."""

    def layer(self, report: LayerReport, layers: int) -> None:
        """A layer is quantised."""
        ...

    def written(self, done: int, total: int) -> None:
        """Parameters are in the new files; of a method that calibrates nothing, rounded first."""
        ...


class _Silent:
    def layer(self, report: LayerReport, layers: int) -> None: ...

    def written(self, done: int, total: int) -> None: ...


class _Lines:
    def __init__(self, console: TerminalConsole) -> None:
        self._console = console

    def layer(self, report: LayerReport, layers: int) -> None:
        self._console.print(f"layer {report.layer + 1} of {layers}: loss {report.loss:.3g}")

    def written(self, done: int, total: int) -> None:
        if done * _LINES // total > (done - 1) * _LINES // total:
            self._console.print(f"{done} of {total} parameters written")


class _Bar:
    """One bar after the other: layers, then what is written."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def layer(self, report: LayerReport, layers: int) -> None:
        self._show("layers", report.layer + 1, layers, f"last loss {report.loss:.3g}")

    def written(self, done: int, total: int) -> None:
        self._show("written", done, total, "")

    def _show(self, what: str, done: int, total: int, note: str) -> None:
        if what not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, visible=False)
            self._tasks[what] = self._bar.add_task(what, total=total, note=note)
        self._bar.update(self._tasks[what], completed=done, note=note)


@contextmanager
def shown(*, quiet: bool) -> Iterator[Shown]:
    """What fits where standard error goes."""
    console = TerminalConsole(file=sys.stderr)
    if quiet:
        yield _Silent()
        return
    if not console.is_terminal:
        yield _Lines(console)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)
