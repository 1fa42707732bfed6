"""Throughput against latency over a sweep: a colour for each value of what was varied first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from .format import scale_of
from .model import Axis, Chart, Panel, Series
from .palette import RUN_ROLES, run_role
from .sweep_headline import setting_text, values_text
from .sweep_model import SweepCell, SweepTable

RATE, NUM_REQUESTS = "request-rate", "num-requests"
_LATENCIES = ("ttft.p99", "tpot.mean", "e2el.p50")
# Of a sweep that has both kinds of runs, with a steady window and without, the second.
_SPEEDS = ("output_throughput.window", "output_throughput.run")
# More names than these lie over each other.
_MOST_NAMES = 12
# Of the fastest point's throughput: its name stands to the right of it, on a phone too.
_ROOM = 1.4


def trade_offs(sweep: SweepTable) -> tuple[Chart, ...]:
    return tuple(filter(None, (_trade_off(sweep, name) for name in _LATENCIES)))


def _trade_off(sweep: SweepTable, latency: str) -> Chart | None:
    """A line for each point of the grid over growing rates, or else a point a cell."""
    by_name = {one.name: one for one in sweep.quantities}
    if latency not in by_name:
        return None
    cells = [
        cell
        for cell in _longest(sweep.counted)
        if cell.values[latency] is not None and _speed(cell) is not None
    ]
    if len(cells) < 2:
        return None
    y = by_name[latency]
    scale = scale_of(y.unit, [cell.values[latency] for cell in cells])
    label = y.label
    speeds = [_speed(cell) or 0.0 for cell in cells]
    series = _lines(cells, latency, scale.factor) or _points(cells, latency, scale.factor)
    heights = [height for one in series for height in one.y]
    return Chart(
        id=f"trade-off-{latency.replace('.', '-')}",
        title=f"Output throughput against {label}",
        reading=_reading(series, cells[0]),
        x=Axis(
            "Output throughput",
            "tokens/s",
            high=(_ROOM if series[0].mark == "named" else 1.15) * max(speeds),
        ),
        panels=(Panel(Axis(label, scale.unit, high=1.15 * max(heights) or None), series),),
    )


def _speed(cell: SweepCell) -> float | None:
    return next((cell.values[name] for name in _SPEEDS if name in cell.values), None)


def _reading(series: Sequence[Series], cell: SweepCell) -> str:
    beside = ""
    if series[0].mark == "named" and cell.settings:
        beside = f" Beside a point: {', '.join(cell.settings)}."
    return f"Further right is faster, lower is sooner.{beside}"


def _longest(cells: Sequence[SweepCell]) -> list[SweepCell]:
    """Of a search's trials, the longest at each rate, and of each point no shortest ones if two are
    left: short runs show their warm-up, and a line through some of either goes to and fro."""
    if all(cell.followed is None for cell in cells):
        return list(cells)
    kept: list[SweepCell] = []
    for group in _grouped(cells, _search_of).values():
        longest = {one.settings[RATE]: one for one in sorted(group, key=_sent)}
        fewest = min(map(_sent, group))
        longer = [one for one in longest.values() if _sent(one) > fewest]
        kept += _up_to_limit(longer if len(longer) > 1 else list(longest.values()))
    return kept


def _search_of(cell: SweepCell) -> str:
    """The point and the repeat of a search's trial."""
    return f"{setting_text(dict(_but(cell, RATE, NUM_REQUESTS)))}, repeat {cell.repeat}"


def _up_to_limit(cells: Sequence[SweepCell]) -> list[SweepCell]:
    """With the first rate that is not followed: beyond it, what is seen is how long a run was."""
    highest = max((_rate(cell) for cell in cells if cell.followed), default=0.0)
    above = [_rate(cell) for cell in cells if _rate(cell) > highest]
    limit = min(above, default=highest)
    return [cell for cell in cells if _rate(cell) <= limit]


def _rate(cell: SweepCell) -> float:
    return float(cell.settings[RATE])


def _sent(cell: SweepCell) -> int:
    return int(cell.settings[NUM_REQUESTS])


def _lines(cells: Sequence[SweepCell], latency: str, factor: float) -> tuple[Series, ...]:
    """Through the medians of repeats at each rate; of searches, which repeats take to rates of
    their own, a line each. Empty where no rate was varied, or more lines than there are colours
    would be drawn."""
    if not all(RATE in cell.settings for cell in cells):
        return ()
    searched = any(cell.followed is not None for cell in cells)
    left_out = (RATE, NUM_REQUESTS) if searched else (RATE,)
    by_repeat = searched and any(cell.repeat > 1 for cell in cells)
    groups = _grouped(
        cells,
        _search_of if by_repeat else lambda cell: setting_text(dict(_but(cell, *left_out))),
    )
    if len(groups) > len(RUN_ROLES):
        return ()
    lines: list[Series] = []
    for at, (name, group) in enumerate(groups.items()):
        by_rate = _grouped(sorted(group, key=_rate), lambda cell: f"{_rate(cell)}").values()
        points = [_middle(repeats, latency, factor) for repeats in by_rate]
        cells_of, speeds, heights = zip(*points, strict=True)
        labels = tuple(cell.name for cell in cells_of)
        lines.append(Series(name, _role(at), "line", speeds, heights, labels))
    return tuple(lines)


def _middle(
    repeats: Sequence[SweepCell], latency: str, factor: float
) -> tuple[SweepCell, float, float]:
    """The first, and the medians of all: throughput in tokens/s, and latency times `factor`."""
    speed = median(_speed(cell) or 0.0 for cell in repeats)
    return repeats[0], speed, factor * median(cell.values[latency] or 0.0 for cell in repeats)


def _points(cells: Sequence[SweepCell], latency: str, factor: float) -> tuple[Series, ...]:
    """A colour for each value of the option that was varied first, if there are enough, and a point
    for the median of a point's repeats. Its values stand beside it where there is room, and what it
    says when pointed at is its name."""
    first = next(iter(cells[0].settings), "")
    points = [
        _middle(group, latency, factor)
        for group in _grouped(cells, lambda cell: setting_text(cell.settings)).values()
    ]
    groups: dict[str, list[tuple[SweepCell, float, float]]] = {}
    for point in points:
        groups.setdefault(f"{first} {point[0].settings.get(first, '')}".strip(), []).append(point)
    if len(groups) > len(RUN_ROLES):
        groups = {"cells": points}
    named = len(points) <= _MOST_NAMES
    return tuple(
        Series(
            name,
            _role(at),
            "named" if named else "point",
            tuple(speed for _, speed, _ in group),
            tuple(height for _, _, height in group),
            tuple(values_text(cell.settings) if named else cell.name for cell, *_ in group),
        )
        for at, (name, group) in enumerate(groups.items())
    )


def _role(at: int) -> str:
    """The first role is a baseline's grey, which none of these is: it comes last."""
    return run_role(at + 1)


def _but(cell: SweepCell, *options: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in cell.settings.items() if name not in options)


def _grouped(
    cells: Sequence[SweepCell], name_of: Callable[[SweepCell], str]
) -> dict[str, list[SweepCell]]:
    groups: dict[str, list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault(name_of(cell), []).append(cell)
    return groups
