"""On which side of a point its name is written, so that names of neighbours do not meet, and the
room that one needs beside the last point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from .model import Axis, Panel

Side = Literal["left", "right", "above", "below"]
Point = tuple[float, float]
# Shares of the axes within which two points are neighbours; names are wider than high.
_NEAR_X, _NEAR_Y = 0.2, 0.1
# As far above a point as its name and that of another beside it take.
_ROOM_ABOVE = 0.25
# A name to the left needs as much of the axis, one below as much of the height.
_ROOM_LEFT, _ROOM_BELOW = 0.25, 0.2
# Of the width that a chart beside figures has, what a wide character of a name takes, what the gap
# between it and its point, and the most that names may take: on a page of 1 200 pixels the axis is
# 355 wide, "awq+a8+w8a8-head" 127, and its gap 8.
_CHARACTER, _GAP, _MOST_OF_WIDTH = 0.023, 0.03, 0.5
# A point has so many sides where its name and its neighbours' can stand.
_MOST_NEIGHBOURS = 2


def room_right(name: str) -> float:
    """The share of the axis that a name to the right of its point needs, gap and all."""
    return min(_MOST_OF_WIDTH, _GAP + _CHARACTER * len(name))


def too_long(name: str) -> bool:
    """Whether it would be cut off beside its point."""
    return _GAP + _CHARACTER * len(name) > _MOST_OF_WIDTH


def sides(x_axis: Axis, panel: Panel) -> dict[Point, Side]:
    """By point: right, or left of a neighbour to the right, or above where that side is taken, too,
    or below where another is above. Names of more neighbours than `crowded` allows may meet."""
    points = _points(panel)
    drawn, width, height = _drawn(x_axis, panel, points)
    found = _placed(drawn, width, height)
    return {point: found[at] for point, at in zip(points, drawn, strict=True)}


def _placed(points: Sequence[Point], width: float, height: float) -> dict[Point, Side]:
    found: dict[Point, Side] = {}
    for at, point in enumerate(points):
        before = any(_near(point, other, width, height) for other in points[:at])
        after = any(_near(point, other, width, height) for other in points[at + 1 :])
        left_fits = point[0] >= _ROOM_LEFT * width
        if after and (before or not left_fits):
            taken = any(
                _crowds(point, other, width, height)
                or (found.get(other) == "above" and _near(point, other, width, height))
                for other in points
            )
            found[point] = "below" if taken and point[1] >= _ROOM_BELOW * height else "above"
        elif after and _meets(point, found, width, height):
            higher = any(
                other[1] > point[1] and _near(point, other, width, height) for other in points
            )
            found[point] = "below" if higher and point[1] >= _ROOM_BELOW * height else "above"
        else:
            found[point] = "left" if after else "right"
    return found


def _meets(point: Point, found: Mapping[Point, Side], width: float, height: float) -> bool:
    """Whether a name to the left would run into one to the right of a point at the same height."""
    return any(
        side == "right"
        and point[0] - other[0] < 2 * _NEAR_X * width
        and abs(point[1] - other[1]) < _NEAR_Y * height
        for other, side in found.items()
    )


def crowded(x_axis: Axis, panel: Panel) -> bool:
    """Whether a point has more neighbours than there are sides for their names."""
    points, width, height = _drawn(x_axis, panel, _points(panel))
    return any(
        sum(_near(point, other, width, height) for other in points if other != point)
        > _MOST_NEIGHBOURS
        for point in points
    )


def _points(panel: Panel) -> list[Point]:
    """Those with names, from left to right."""
    named = (one for one in panel.series if one.mark == "named")
    return sorted({point for one in named for point in zip(one.x, one.y, strict=True)})


def _drawn(x_axis: Axis, panel: Panel, points: Sequence[Point]) -> tuple[list[Point], float, float]:
    """Where points lie on their axes, and how long those are."""
    width = x_axis.high or max((x for x, _ in points), default=0.0) or 1.0
    if not panel.y.log:
        return list(points), width, panel.y.high or max((y for _, y in points), default=0.0) or 1.0
    low = min((y for _, y in points), default=1.0)
    drawn = [(x, math.log10(y / low)) for x, y in points]
    return drawn, width, max((y for _, y in drawn), default=0.0) or 1.0


def _near(one: Point, other: Point, width: float, height: float) -> bool:
    return abs(one[0] - other[0]) < _NEAR_X * width and abs(one[1] - other[1]) < _NEAR_Y * height


def _crowds(one: Point, other: Point, width: float, height: float) -> bool:
    """Whether the other's name may stand where one's would above it."""
    higher = other[1] - one[1]
    return (
        abs(one[0] - other[0]) < _NEAR_X * width
        and _NEAR_Y * height <= higher < _ROOM_ABOVE * height
    )
