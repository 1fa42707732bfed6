"""What a report on a factorial is given: axes, cells, effects and the sentences about them.

The harness works all of it out; nothing here knows how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .measure import Measure

CellStatus = Literal["measured", "invalid", "not run"]


@dataclass(frozen=True)
class AblationAxis:
    """A setting and its levels as they are typed; the first is the base of every effect."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class AblationResponse(Measure):
    """A quantity that was judged.

    scale: whether effects are ratios (1 is none) or differences (0 is none). too_little: why its
    effects decide nothing; empty if they may. too_few: why they are no numbers to show; empty if
    they are.
    """

    scale: Literal["ratio", "difference"]
    too_little: str = ""
    too_few: str = ""


@dataclass(frozen=True)
class AblationChange:
    """One axis from its base to a level, both as they are typed.

    text: the change in words, as `batching separate → mixed`; setting: what the level is, as `mixed
    batching`."""

    axis: str
    base: str
    level: str
    text: str
    setting: str


@dataclass(frozen=True)
class Conditional:
    """A change's effect while another axis stays at a level. level: in words, as `paged KV`."""

    level: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AblationEffect:
    """One effect on one response: of one change, or of a change on another's effect.

    response: the name of an `AblationResponse`. value, low, high: on its scale; an interaction is
    the first change's effect at the second's level over (or less) that at its base.
    p: adjusted for all effects of the report; None where there is no spread. significant: p is
    below the error rate, the response may decide, and the machine alone could not be the effect.
    conditional: for an interaction, the first change's effect at the second axis' base and at its
    level. sentence: what moved and through what, if it is significant, a percent or more, and no
    count.
    shares: of the effect, by part of the time (`ablation_tables.PARTS`); empty where it is no sum
    of parts.
    """

    changes: tuple[AblationChange, ...]
    response: str
    value: float
    low: float | None
    high: float | None
    p: float | None
    significant: bool
    conditional: tuple[Conditional, ...] = ()
    sentence: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_main(self) -> bool:
        return len(self.changes) == 1

    @property
    def text(self) -> str:
        return " × ".join(change.text for change in self.changes)


@dataclass(frozen=True)
class AblationCell:
    """One combination of levels. values, mechanism: means over its repeats, by name; empty unless
    it was measured. reason: why it was not, or is not valid. runs: its run directories."""

    name: str
    levels: tuple[str, ...]
    status: CellStatus
    values: Mapping[str, float] = field(default_factory=dict)
    mechanism: Mapping[str, float | None] = field(default_factory=dict)
    reason: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """A factorial, measured.

    setting: model, machine, load and the other settings in words. simulated: whether step times
    were computed and not measured; simulation_error: how wrong they may be, in words.
    sentences: one for each significant effect, the largest first.
    notes: what the numbers cannot carry.
    """

    title: str
    setting: tuple[str, ...]
    repeats: int
    simulated: bool
    axes: tuple[AblationAxis, ...]
    responses: tuple[AblationResponse, ...]
    cells: tuple[AblationCell, ...]
    effects: tuple[AblationEffect, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    command: str = ""
    simulation_error: str = ""

    @property
    def measured(self) -> tuple[AblationCell, ...]:
        return tuple(cell for cell in self.cells if cell.status == "measured")
