"""Taking turns: A B C, A B C, ... so that what changes with time changes for everyone.

An engine is started at its first turn and stays up, idle, to the end; nothing else is asked of
anyone while one is measured. Each turn is a line of `rounds.jsonl` as soon as it is over, so a
session that was cut off goes on where it was.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from ...engines.errors import ConfigError
from .base import Peer, PeerError, ServedModel, Serving, Started, Variant
from .figures import NotAsAskedError, figures_of
from .workload import Job

RECORD = "rounds.jsonl"


@dataclass(frozen=True)
class Turn:
    """What one engine did in one round. figures: by name, as `figures_of` says. at: UTC, ISO."""

    variant: Variant
    round: int
    figures: Mapping[str, float]
    started: Started
    at: str


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
    directory: Path,
    report: Callable[[str], None],
    lock: Path | None = None,
) -> dict[Variant, str]:
    """Measure what `directory` does not hold yet. Returns why rows were given up, by row.

    lock: a file that is locked (flock) for each turn, for a machine that is shared.
    """
    held = {(turn.variant, turn.round) for turn in read_turns(directory, model)}
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
                        serving[row.variant] = stack.enter_context(_serve(row, model, directory))
                    with _locked(lock):
                        turn = _turn(
                            row.variant, serving[row.variant], jobs_of_round(number), number
                        )
                except (PeerError, NotAsAskedError) as error:
                    failed[row.variant] = str(error)
                    report(f"{row.variant.name} is given up: {error}")
                    continue
                _append(directory, model, turn)
                report(
                    f"round {number + 1} of {rounds}: {_said(turn)}, {monotonic() - start_s:.0f} s"
                )
    return failed


def read_turns(directory: Path, model: ServedModel) -> list[Turn]:
    """The turns that a directory holds, in order. Raises ConfigError if they are of another
    model."""
    file = directory / RECORD
    if not file.is_file():
        return []
    turns = []
    for line in file.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        if data["model"] != model.name:
            raise ConfigError("out", str(directory), f"rounds of {model.name}, not {data['model']}")
        turns.append(
            Turn(
                Variant(**data["variant"]),
                data["round"],
                data["figures"],
                Started(**data["started"]),
                data["at"],
            )
        )
    return turns


def _serve(row: Row, model: ServedModel, directory: Path):
    name = row.variant.name.replace(" ", "-")
    return row.peer.serve(row.variant, model, directory / f"{name}.log")


def _turn(variant: Variant, serving: Serving, jobs: Sequence[Job], number: int) -> Turn:
    figures: dict[str, float] = {}
    for job in jobs:
        figures.update(figures_of(job, serving.run(job)))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Turn(variant, number, figures, serving.started, at)


def _append(directory: Path, model: ServedModel, turn: Turn) -> None:
    with (directory / RECORD).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"model": model.name, **asdict(turn)}, allow_nan=False) + "\n")


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
