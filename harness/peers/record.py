"""The turns that were taken, kept one by one, under the conditions that all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...engines.errors import ConfigError
from ..errors import StoreError, unreadable
from ..storage.json_text import read_json
from ..storage.whole_file import writing
from .base import Started, Variant

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
class Conditions:
    """What figures must share to stand beside each other, but for the machine. model: its name.
    weights: the model's identity. cores: that everyone runs on. seed: of what is asked."""

    model: str
    weights: str
    cores: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Record:
    """A line of JSON a turn, in `directory`, written as soon as the turn is over."""

    directory: Path
    conditions: Conditions

    def drop_half_line(self) -> bool:
        """Cut off what a writer that was killed began of a last line; whether there was any. What
        stands there whole, or is no line of ours, stays. Raises StoreError for `out`."""
        if not self._file.is_file():
            return False
        with writing("out", self._file), self._file.open("r+b") as file:
            there = file.read()
            last = there.rpartition(b"\n")[2]
            if not last.startswith(b"{"):
                return False
            if _is_json(last):  # all but the end of its line
                file.write(b"\n")
                return False
            file.truncate(len(there) - len(last))
        return True

    def turns(self) -> list[Turn]:
        """In the order they were taken. Raises ConfigError if any was under other conditions, and
        StoreError for a line that is no turn."""
        if not self._file.is_file():
            return []
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable("out", self._file, "the rounds of 'llmbench peers'", error) from error
        return [self._turn(number, line) for number, line in enumerate(lines, start=1)]

    def _turn(self, number: int, line: str) -> Turn:
        try:
            data = read_json(line)
            conditions = {name: data.get(name) for name in _as_stored(self.conditions)}
            turn = Turn(
                Variant(**data["variant"]),
                data["round"],
                data["figures"],
                Started(**data["started"]),
                data["at"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"has no turn in line {number}; expected the rounds of 'llmbench peers'"
            raise StoreError("out", self._file, problem) from error
        for name, asked in _as_stored(self.conditions).items():
            if (there := conditions[name]) != asked:
                raise ConfigError(
                    "out", str(self.directory), f"rounds of {name} {asked}, not {there}"
                )
        return turn

    def append(self, turn: Turn) -> None:
        line = {**_as_stored(self.conditions), **asdict(turn)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    @property
    def _file(self) -> Path:
        return self.directory / RECORD


def _as_stored(conditions: Conditions) -> dict[str, object]:
    return {**asdict(conditions), "cores": list(conditions.cores)}


def _is_json(text: bytes) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True
