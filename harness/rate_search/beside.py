"""A bracket that may have moved: first asked again at its own ends, and then beside them."""

from __future__ import annotations

import math
from collections.abc import Callable


def beside(
    followed: Callable[[float], bool],
    bracket: tuple[float, float],
    tolerance: float,
    lowest_per_s: float,
) -> tuple[float, float] | None:
    """A rate that is followed and one that is not, within `tolerance`, from the two that were. Away
    from them by growing steps, so that an answer that stays costs two trials and one that is far
    off few. None if not even `lowest_per_s` is followed."""
    holds, fails = bracket
    step = fails / holds if math.isfinite(fails) else 1 + tolerance
    if followed(holds):
        while followed(fails):
            holds, fails, step = fails, fails * step, step**2
    else:
        fails, holds = holds, holds / step
        while not followed(holds):
            if holds <= lowest_per_s:
                return None
            step **= 2
            fails, holds = holds, max(holds / step, lowest_per_s)
    while math.isfinite(fails) and fails > holds * (1 + tolerance):
        middle = math.sqrt(holds * fails)
        if followed(middle):
            holds = middle
        else:
            fails = middle
    return holds, fails
