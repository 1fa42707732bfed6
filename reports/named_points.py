"""On which side of a point its name is written, so that names of neighbours do not meet."""

from __future__ import annotations

from typing import Literal

from .model import Axis, Panel

Side = Literal["left", "right", "above", "below"]
# Shares of the axes within which two points are neighbours; names are wider than high.
_NEAR_X, _NEAR_Y = 0.2, 0.1
# As far above a point as its name and that of another beside it take.
_ROOM_ABOVE = 0.25


def sides(x_axis: Axis, panel: Panel) -> dict[tuple[float, float], Side]:
    """By point: right, or left of a neighbour to the right, or between two above, or below where
    another is above."""
    points = sorted(
        {
            (x, y)
            for one in panel.series
            if one.mark == "named"
            for x, y in zip(one.x, one.y, strict=True)
        }
    )
    if not points:
        return {}
    width = x_axis.high or max(x for x, _ in points) or 1.0
    height = panel.y.high or max(y for _, y in points) or 1.0

    def near(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return (
            abs(one[0] - other[0]) < _NEAR_X * width and abs(one[1] - other[1]) < _NEAR_Y * height
        )

    def crowds(one: tuple[float, float], other: tuple[float, float]) -> bool:
        higher = other[1] - one[1]
        return (
            abs(one[0] - other[0]) < _NEAR_X * width
            and _NEAR_Y * height <= higher < _ROOM_ABOVE * height
        )

    found: dict[tuple[float, float], Side] = {}
    for at, point in enumerate(points):
        before = any(near(point, other) for other in points[:at])
        after = any(near(point, other) for other in points[at + 1 :])
        between: Side = "below" if any(crowds(point, other) for other in points) else "above"
        found[point] = between if before and after else "left" if after else "right"
    return found
