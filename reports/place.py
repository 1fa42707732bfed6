"""Where a chart of one run stands: alone, or beside the same chart of other runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .facts import floats
from .model import Axis, Mark, Run, Series, Width
from .thinning import Floats, Held, hold

# A screen has about a thousand columns to draw steps in, and half of them for charts side by side.
MOST_STEPS = {"full": 2000, "half": 1000}
BINS = {"full": 600, "half": 300}


@dataclass(frozen=True)
class Place:
    """among: every run of the comparison, the run itself among them; empty for a run alone.

    Charts beside each other share their scales, so that heights can be compared by eye.
    """

    run: Run
    among: tuple[Run, ...] = ()

    @classmethod
    def side_by_side(cls, runs: Sequence[Run]) -> tuple[Place, ...]:
        return tuple(cls(run, tuple(runs)) for run in runs)

    @property
    def width(self) -> Width:
        return "half" if self.among else "full"

    @property
    def time(self) -> Axis:
        ends_s = [self.largest(run, "end_s") for run in self._all]
        return Axis("Time", "s", high=max(ends_s))

    def title(self, title: str) -> str:
        return f"{title}: {self.run.name}" if self.among else title

    def chart_id(self, name: str) -> str:
        """By position: names may repeat, positions cannot."""
        return f"{name}-{self.among.index(self.run) + 1}" if self.among else name

    def shared_high(self, *columns: str) -> float | None:
        """The end of an axis for the largest value of the step columns in any of the runs, if
        there is another run to share it with."""
        if not self.among:
            return None
        return 1.05 * max(self.largest(run, name) for run in self.among for name in columns) or None

    def held(self, columns: dict[str, Floats]) -> Held:
        """Columns of the steps over time, as fine as the place allows."""
        steps = self.run.steps
        return hold(
            floats(steps, "start_s"),
            floats(steps, "end_s"),
            columns,
            most=MOST_STEPS[self.width],
            bins=BINS[self.width],
        )

    @property
    def _all(self) -> tuple[Run, ...]:
        return self.among or (self.run,)

    @staticmethod
    def largest(run: Run, column: str) -> float:
        return float(floats(run.steps, column).max(initial=0.0))


def held_series(held: Held, column: str, name: str, role: str, mark: Mark) -> Series:
    """One column of what was held, as a series."""
    return Series(
        name, role, mark, tuple(held.times_s.tolist()), tuple(held.columns[column].tolist())
    )
