"""The turns that were taken, kept one by one, under the conditions that all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...engines.errors import ConfigError
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

    def turns(self) -> list[Turn]:
        """In the order they were taken. Raises ConfigError if any was under other conditions."""
        file = self.directory / RECORD
        if not file.is_file():
            return []
        turns: list[Turn] = []
        for line in file.read_text(encoding="utf-8").splitlines():
            data = json.loads(line)
            for name, asked in _as_stored(self.conditions).items():
                if (there := data.get(name)) != asked:
                    raise ConfigError(
                        "out", str(self.directory), f"rounds of {name} {asked}, not {there}"
                    )
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

    def append(self, turn: Turn) -> None:
        line = {**_as_stored(self.conditions), **asdict(turn)}
        with (self.directory / RECORD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def _as_stored(conditions: Conditions) -> dict[str, object]:
    return {**asdict(conditions), "cores": list(conditions.cores)}
