"""Taking turns: A B C, A B C, ... so that what changes with time changes for everyone.

An engine is started at its first turn and stays up, idle, to the end; nothing else is asked of
anyone while one is measured. Each turn is kept as soon as it is over (`record.py`), so a session
that was cut off goes on where it was.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from ...engines.errors import ConfigError
from .base import Peer, PeerError, ServedModel, Serving, Started, Variant
from .figures import NotAsAskedError, figures_of
from .record import Record, Turn
from .workload import Job


@dataclass(frozen=True)
class Row:
    """A row to be measured: a peer and which of its variants."""

    peer: Peer
    variant: Variant


def take_turns(
    rows: Sequence[Row],
    model: ServedModel,
    jobs_of_round: Callable[[int], Sequence[Job]],
    rounds: int,
    record: Record,
    report: Callable[[str], None],
    lock: Path | None = None,
) -> dict[Variant, str]:
    """Measure what `record` does not hold yet. Returns why rows were given up, by row.

    lock: a file that is locked (flock) for each turn, for a machine that is shared. Raises
    ConfigError if the record is of other conditions.
    """
    if record.drop_half_line():
        report("the last round was cut off while it was written, and is taken again")
    turns = record.turns()
    held = {(turn.variant, turn.round) for turn in turns}
    earlier = {turn.variant: turn.started for turn in turns}
    failed: dict[Variant, str] = {}
    with ExitStack() as stack:
        serving: dict[Variant, Serving] = {}
        for number in range(rounds):
            for row in rows:
                if (row.variant, number) in held or row.variant in failed:
                    continue
                start_s = monotonic()
                try:
                    if row.variant not in serving:
                        report(f"starting {row.variant.name}")
                        serving[row.variant] = stack.enter_context(
                            _serve(row, model, record.directory, earlier.get(row.variant))
                        )
                    with _locked(lock):
                        turn = _turn(
                            row.variant, serving[row.variant], jobs_of_round(number), number
                        )
                except (PeerError, NotAsAskedError, ConfigError) as error:
                    failed[row.variant] = str(error)
                    report(f"{row.variant.name} is given up: {error}")
                    continue
                record.append(turn)
                report(
                    f"round {number + 1} of {rounds}: {_said(turn)}, {monotonic() - start_s:.0f} s"
                )
    return failed


@contextmanager
def _serve(
    row: Row, model: ServedModel, directory: Path, earlier: Started | None
) -> Iterator[Serving]:
    """The engine, ready. earlier: what it was when it had its last turn. Raises PeerError if it is
    another by now: a row has one."""
    name = row.variant.name.replace(" ", "-")
    with row.peer.serve(row.variant, model, directory / f"{name}.log") as serving:
        if earlier is not None and earlier.versions != serving.started.versions:
            there, now = earlier.said_versions, serving.started.said_versions
            raise PeerError(f"its rounds in {directory} are of {there}, and this is {now}")
        yield serving


def _turn(variant: Variant, serving: Serving, jobs: Sequence[Job], number: int) -> Turn:
    figures: dict[str, float] = {}
    for job in jobs:
        figures.update(figures_of(job, serving.run(job)))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Turn(variant, number, figures, serving.started, at)


def _said(turn: Turn) -> str:
    rate = turn.figures["output_tokens_per_s"]
    return f"{turn.variant.name} {rate:.0f} output tokens/s"


def _locked(path: Path | None):
    return nullcontext() if path is None else _flock(path)


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
