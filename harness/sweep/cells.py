"""Running one cell: as a command of its own, once, whoever else runs the same sweep.

A process a cell costs seconds to start and gives what a sweep needs most: no cell leaves memory,
threads or a warm cache to the next, one that dies takes no other with it, and any command that
stores a run can be swept, be it real, simulated or against a server.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from ...reports.format import quantity
from ..comparison.admissible import objections
from ..storage.drafts import turn_in
from ..storage.settings import difference
from ..storage.store import RESULT_FILE, RunOnDisk, StoreError, find_run
from ..storage.whole_file import check_utf8
from .grid import Cell

MANIFEST = "sweep.json"
SCHEMA_VERSION = 1
_FOLDERS = ("cells", "logs", "locks")
# A stored run may be invalid; its own result says so.
_STORED = (0, 3)
_INTERRUPTED = 130
_MAIN = "import sys; from llmbench.harness.cli import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Done:
    """A cell that was run. run: None where nothing was stored; failure: why it does not count, in
    one line, empty if it does."""

    cell: Cell
    run: RunOnDisk | None
    failure: str = ""

    @property
    def told(self) -> str:
        """What it came to, in a line."""
        if self.run is None or self.failure:
            return f"does not count: {self.failure}"
        stats = self.run.result.stat
        found = (
            (stats("output_throughput", "window"), "output tokens/s", ""),
            (stats("ttft", "p50"), "s", "TTFT p50 "),
            (stats("tpot", "mean"), "s", "TPOT mean "),
        )
        return ", ".join(
            f"{label}{quantity(value, unit)}" for value, unit, label in found if value is not None
        )


class SweepInterruptedError(KeyboardInterrupt):
    """Ctrl-C. done: the cells that had ended by then, in the order that was asked for."""

    def __init__(self, done: tuple[Done, ...]) -> None:
        super().__init__()
        self.done = done


class Starts(Protocol):
    """Starts a command with its output in a file; returns its exit code. held: a descriptor that
    stays open as long as the command runs, whatever becomes of who started it."""

    def __call__(self, words: Sequence[str], log: Path, held: int) -> int: ...


def start(words: Sequence[str], log: Path, held: int) -> int:
    """llmbench itself, by this Python. Ctrl-C reaches it too, and it is waited for; a second one
    ends it."""
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=(held,),
        )
        try:
            return _ended(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait()
    except KeyboardInterrupt:
        # It keeps what it measured and ends what it started; a signal now would prevent both.
        process.wait()
        raise


class Sweep:
    """A directory of cells. command: what each adds its settings to. Several processes may work on
    one: a cell that another one runs is left to it."""

    def __init__(
        self,
        out: Path,
        command: Sequence[str],
        identity: dict[str, Any],
        starts: Starts = start,
    ) -> None:
        """Makes the directory, or finds the one of this very sweep. identity: what decides its
        cells, as JSON. Raises StoreError for one that holds something else."""
        self.out = out.resolve()
        self._command = tuple(command)
        self._starts = starts
        _open(self.out, {"command": list(command), **identity})

    def run(self, cell: Cell) -> Done | None:
        """The cell's run, found or made; None while another process makes it."""
        with self._lock(cell) as held:
            if (done := self.found(cell)) is not None:
                return done
            return None if held is None else self._make(cell, held)

    def found(self, cell: Cell) -> Done | None:
        """What is stored of a cell; None if there is none, or it was not finished."""
        directory = self._directory(cell)
        with turn_in(directory.parent):  # whoever replaces a run has the place empty for a moment
            if not (directory / RESULT_FILE).exists():
                return None
            run = find_run(directory)
        if run.result.status == "partial":
            return None
        return Done(cell, run, "; ".join(objections(run)[:1]))

    def wait(self, cell: Cell) -> None:
        """Until no process works on the cell."""
        with self._lock_file(cell) as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def _make(self, cell: Cell, held: int) -> Done:
        directory = self._directory(cell)
        log = self.out / "logs" / f"{cell.name}.log"
        words = (*self._command, *cell.words, "--quiet", f"--out={directory}")
        code = self._starts(words, log, held)
        done = self.found(cell)
        if done is not None and code in _STORED:
            return done
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        return Done(cell, None, f"exit code {code}: {last_line(log)}")

    def _directory(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.name

    @contextmanager
    def _lock(self, cell: Cell) -> Iterator[int | None]:
        """The lock's descriptor if the cell is this process's now. It goes with the process and the
        command that this started for the cell, however they end."""
        with self._lock_file(cell) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file.fileno()

    def _lock_file(self, cell: Cell) -> TextIO:
        return (self.out / "locks" / cell.name).open("a")


def run_all(sweep: Sweep, cells: Sequence[Cell], report: Callable[[str], None]) -> tuple[Done, ...]:
    """Every cell, in this order; those that another process runs are waited for at the end. Raises
    SweepInterruptedError on Ctrl-C."""
    done: dict[Cell, Done] = {}
    try:
        _run_each(sweep, cells, report, done)
    except KeyboardInterrupt as error:
        # What an earlier sweep stored may lie beyond the cell that this one came to.
        ended = (done.get(cell) or sweep.found(cell) for cell in cells)
        raise SweepInterruptedError(tuple(one for one in ended if one is not None)) from error
    return tuple(done[cell] for cell in cells)


def _run_each(
    sweep: Sweep, cells: Sequence[Cell], report: Callable[[str], None], done: dict[Cell, Done]
) -> None:
    """Adds to `done` what ends, as it ends."""
    stored = sum(sweep.found(cell) is not None for cell in cells)
    if stored:
        report(f"{stored} of {len(cells)} cells are stored already")
    elsewhere: list[Cell] = []
    for at, cell in enumerate(cells, start=1):
        is_new = sweep.found(cell) is None
        if is_new:
            report(f"cell {at} of {len(cells)}: {cell.name}")
        one = sweep.run(cell)
        if one is None:
            elsewhere.append(cell)
            continue
        done[cell] = one
        if is_new:
            report(f"  {one.told}")
    for cell in elsewhere:
        report(f"waiting for {cell.name}, which another process runs")
        done[cell] = until_done(sweep, cell)


def until_done(sweep: Sweep, cell: Cell) -> Done:
    """The cell's run, by whomever: if another process gives it up, this one makes it."""
    while (one := sweep.run(cell)) is None:
        sweep.wait(cell)
    return one


def last_line(log: Path) -> str:
    """What a command said last, which is its error if it had one."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def _open(out: Path, identity: dict[str, Any]) -> None:
    """One process at a time: another may be making the directory, have made half of it, or be about
    to put a run in its place."""
    check_utf8(out)
    if out.exists() and not out.is_dir():
        raise StoreError("out", out, "is a file; expected a new directory, or a sweep's")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with turn_in(out.parent):
            out.mkdir(exist_ok=True)
            _claim(out, {"schema_version": SCHEMA_VERSION, **identity})
    except OSError as error:
        raise StoreError("out", out, f"cannot be made: {error.strerror}") from error


def _claim(out: Path, told: dict[str, Any]) -> None:
    manifest = out / MANIFEST
    if manifest.exists():
        try:
            stored = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError("out", manifest, f"cannot be read: {error}") from error
        if why := difference(told, stored) or difference(stored, told):
            raise StoreError(
                "out",
                out,
                f"holds another sweep ({why}); expected a new directory, or the one of this very "
                "command",
            )
    elif any(entry.name not in _FOLDERS for entry in out.iterdir()):
        raise StoreError("out", out, "is not empty; expected a new directory, or a sweep's")
    for folder in _FOLDERS:
        (out / folder).mkdir(exist_ok=True)
    if not manifest.exists():
        draft = out / "locks" / f"{MANIFEST}.draft"
        draft.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        draft.replace(manifest)
