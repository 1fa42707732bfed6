"""What of a file's values is a number to compute with."""

from __future__ import annotations

import math


def is_finite_number(value: object) -> bool:
    """Not a bool, which Python counts as one; not an integer of more digits than a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
