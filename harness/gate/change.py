"""How every kind of gate writes a change: `12.1 -> 13.4 ms`, `+10.7`."""

from __future__ import annotations


def scaled(unit: str) -> tuple[float, str]:
    """What to multiply by, and the unit that then stands beside it: seconds are milliseconds, and
    shares percentages."""
    return {"s": (1e3, "ms"), "share": (1e2, "%")}.get(unit, (1.0, unit))


def levels(before: float, after: float, unit: str, digits: int = 4) -> str:
    """`12.1 -> 13.4 ms`."""
    scale, unit = scaled(unit)
    return f"{before * scale:.{digits}g} -> {after * scale:.{digits}g} {unit}".rstrip()


def percent(ratio: float) -> str:
    """What a ratio adds: 1.107 is `+10.7`."""
    return f"{(ratio - 1) * 100:+.1f}"
