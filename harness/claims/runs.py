"""The runs that claims rest on: made once each, and held against each other."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...reports.format import quantity, scale_of
from ..comparison.admissible import objections
from ..comparison.evidence import examine
from ..comparison.observed import Observed
from ..comparison.quantities import find_quantity
from ..options.words import run_settings, simulated_settings, words_of_mapping
from ..result import Result
from ..run.watch import Silent, Watch
from ..storage.store import StoredRun

if TYPE_CHECKING:
    from ..run.experiment import Measured
    from ..simulation.simulated_capacity import EngineCapacity

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """A run, and the command that makes it again."""

    command: str
    observed: Observed
    simulated: bool

    @property
    def result(self) -> Result:
        return self.observed.stored.result

    @property
    def objections(self) -> tuple[str, ...]:
        """Why it proves nothing; empty if it may."""
        return objections(self.observed.stored)

    @property
    def disturbed(self) -> bool:
        return self.result.validity.disturbed

    def value(self, name: str) -> float:
        """Of a quantity that every run has."""
        found = find_quantity("quantity", name).value(self.result)
        assert found is not None, name
        return found

    def text(self, name: str) -> str:
        return quantity(self.value(name), find_quantity("quantity", name).unit)


@dataclass(frozen=True)
class Change:
    """A quantity of two runs: both values in words, and after over before. sure: whether it rose or
    fell for certain: the whole 95 % interval, over requests, lies on one side, or the quantity is
    no sample."""

    values: str
    ratio: float
    sure: bool

    def rose(self) -> bool | None:
        return self.ratio > 1 if self.sure else None

    def fell(self) -> bool | None:
        return self.ratio < 1 if self.sure else None

    def __str__(self) -> str:
        return f"{self.values}, {self.ratio:.2f}×"


def change(before: Made, after: Made, name: str) -> Change:
    """What became of a quantity. Of invalid or disturbed runs nothing is sure."""
    found = examine(before.observed, after.observed, find_quantity("quantity", name))
    estimate = found.estimate
    assert estimate is not None, name
    usable = not any(one.objections or one.disturbed for one in (before, after))
    apart = (estimate.low - 1) * (estimate.high - 1) > 0
    scale = scale_of(found.quantity.unit, (before.value(name), after.value(name)))
    return Change(
        f"{scale.number(before.value(name))} → {scale.quantity(after.value(name))}",
        estimate.value,
        sure=usable and apart and not found.too_little,
    )


class Runs:
    """Makes runs from the options of their commands, each once."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._made: dict[str, Made] = {}

    def simulated(self, options: Options) -> Made:
        """As `llmbench simulate` with these options."""
        return self._once("simulate", options)

    def measured(self, options: Options) -> Made:
        """As `llmbench run` with these options, on this machine."""
        return self._once("run", options)

    def capacity(self, options: Options, attainment: float) -> tuple[EngineCapacity, str]:
        """As `llmbench capacity` with these options, and the command. Raises ConfigError where
        they have no SLO."""
        from ..simulation.capacity_goal import CapacityGoal
        from ..simulation.simulated_capacity import engine_capacity, prepare_capacity

        words = words_of_mapping("options", options)
        text = f"{_typed('capacity', words)} --attainment {attainment:.0%}"
        self._watch.stage(text)
        settings, machine = simulated_settings(words, "options")
        goal = CapacityGoal(settings.slo_s, attainment)
        return engine_capacity(prepare_capacity(settings, machine), goal, Silent()), text

    def _once(self, command: str, options: Options) -> Made:
        words = words_of_mapping("options", options)
        text = _typed(command, words)
        if text not in self._made:
            self._watch.stage(text)
            make = _simulate if command == "simulate" else _run
            found = make(words, self._watch)
            stored = StoredRun(Path(command), found.result, found.requests, found.steps)
            self._made[text] = Made(text, Observed(stored), command == "simulate")
        return self._made[text]


def _typed(command: str, words: Sequence[str]) -> str:
    """`llmbench simulate --model llama-3-8b …`."""
    return f"llmbench {command} {shlex.join(part for one in words for part in one.split('=', 1))}"


def _simulate(words: list[str], watch: Watch) -> Measured:
    from ..simulation.simulate import prepare_simulation, simulate

    settings, machine = simulated_settings(words, "options")
    return simulate(prepare_simulation(settings, machine), watch)


def _run(words: list[str], watch: Watch) -> Measured:
    from ..run.experiment import measure, prepare

    return measure(prepare(run_settings(words, "options"), watch), watch)
