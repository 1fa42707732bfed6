"""How much a machine alone moves a number, seen where two cells did the very same work.

Settings that make no difference to a schedule leave cells whose steps compute the same tokens in
the same order. Whatever their times differ by is the machine's doing: other processes, frequency,
heat. With one run a cell no interval holds that, so no effect of that size can be believed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .design import Cell
from .mechanism import Accounted


@dataclass(frozen=True)
class Noise:
    """size: of the logarithm of the ratio of two cells' step times; text: which cells, in words."""

    size: float
    text: str


def machine_noise(repeats: Sequence[Mapping[Cell, Accounted]]) -> Noise | None:
    """The largest difference between cells that computed the same steps; None if no two did, or
    there is none. With repeats the intervals hold it already, and a simulated machine has none:
    None."""
    simulated = all(one.result.simulation is not None for one in repeats[0].values())
    if len(repeats) > 1 or simulated:
        return None
    by_schedule: dict[str, list[tuple[Cell, float]]] = {}
    for cell, one in repeats[0].items():
        by_schedule.setdefault(one.work.schedule, []).append((cell, one.work.spent_s))
    pairs = [
        (abs(math.log(this_s / other_s)), this.name, other.name)
        for same in by_schedule.values()
        for (this, this_s), (other, other_s) in itertools.combinations(same, 2)
        if _same_kernels(this, other)
    ]
    size, this, other = max(pairs, default=(0.0, "", ""))
    if size < 1e-9:
        return None
    return Noise(
        size,
        f"{this} and {other} computed the same steps, yet one took "
        f"{round(100 * (math.exp(size) - 1))} % longer: that is the machine, and no smaller "
        "effect is called one; --repeats tells more",
    )


def _same_kernels(this: Cell, other: Cell) -> bool:
    """Whether the cells differ only in who is admitted when: another cache, weight or shape may
    take another time for the same steps."""
    policies = {"batching", "admission", "chunked_prefill", "delay_factor", "max_num_seqs"}
    return all(
        level == other.overrides[axis] for axis, level in this.levels if axis not in policies
    )
