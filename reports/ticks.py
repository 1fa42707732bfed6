"""Where the ticks of a logarithmic axis are, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .format import number

_CLOSE = 1.05  # of the farthest ratio to the nearest: so close, every hundredth has a tick
_RATIO_TICKS = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25)


def log_ticks(values: Sequence[float]) -> list[float]:
    """Round numbers over the positive values, few enough for a phone: 1, 2 and 5 of a decade, 1 and
    3 over more than two decades, decades alone over more than four."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    low, high = math.log10(min(positive)), math.log10(max(positive))
    digits = (1, 2, 5) if high - low <= 2 else (1, 3) if high - low <= 4 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    return [tick for tick in ticks if min(positive) / 2 <= tick <= 2 * max(positive)]


def tick_text(tick: float) -> str:
    """Without the zeros that a measured value has to its third digit: "0.3", "10", "3 000"."""
    return number(tick) if tick >= 1000 else f"{tick:g}"


def ratio_ticks(values: Sequence[float]) -> list[float]:
    """Ticks about 1, closer together the closer all values are to it."""
    positive = [value for value in values if value > 0]
    if not positive:
        return [1.0]
    low, high = min(1.0, *positive), max(1.0, *positive)
    if high / low > 5:
        return sorted({1.0, *log_ticks([low, high])})
    if 1 < high / low < _CLOSE:
        return [hundredth / 100 for hundredth in range(95, 106)]
    fine = [
        tick for tick in (0.25, 0.5, *_RATIO_TICKS, 1.5, 2, 3, 4) if low / 1.1 <= tick <= high * 1.1
    ]
    apart = (high / low) ** (1 / 5)  # room for some five labels
    kept = [1.0]
    for tick in sorted(fine, key=lambda tick: abs(math.log(tick))):
        if all(max(tick / other, other / tick) > apart for other in kept):
            kept.append(tick)
    return sorted(kept)
