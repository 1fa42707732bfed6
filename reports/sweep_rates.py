"""What searches for the highest rate found, one by one."""

from __future__ import annotations

from collections.abc import Iterator

from .format import number, quantity
from .model import Table
from .sweep_headline import setting_text
from .sweep_model import SaturationPoint, SweepTable
from .sweep_searches import AT_ONCE
from .tables import table

SEARCHED_AGAIN = (
    "Each repeat of a point is a search of its own, with requests of another seed: a point's rate "
    "is the median of what they found, and beside it stand the lowest and the highest."
)


def contradictions(sweep: SweepTable) -> Iterator[str]:
    """A sentence for each search that found no single threshold."""
    for point in sweep.saturation:
        if point.exceptions:
            which = f", repeat {point.repeat}" if sweep.is_repeated else ""
            yield (
                f"{setting_text(point.settings)}{which} has no single threshold: "
                f"{_contradicting(point)} {point.unit} contradict it."
            )


def rates_table(sweep: SweepTable) -> Table | None:
    """A row a search; None of a grid."""
    if not sweep.saturation:
        return None
    units = list(dict.fromkeys(point.unit for point in sweep.saturation))
    # Where workloads are varied, some may send sessions and some not.
    unit = f" ({units[0]})" if len(units) == 1 else ""
    of_sessions = any(point.per_session is not None for point in sweep.saturation)

    def shown(point: SaturationPoint, rate: float | None) -> str:
        return number(rate) if unit else quantity(rate, point.unit)

    return table(
        "saturation",
        "Highest rate that is followed",
        (
            *("Setting", *(["Repeat"] if sweep.is_repeated else []), f"Followed{unit}"),
            *(["In requests/s"] if of_sessions else []),
            *(f"Not followed{unit}", "Contradicted at"),
        ),
        [
            (
                setting_text(point.settings),
                *([str(point.repeat)] if sweep.is_repeated else []),
                shown(point, point.holds_per_s),
                *([number(point.requests_per_s)] if of_sessions else []),
                AT_ONCE
                if point.outcome == "found" and point.fails_per_s is None
                else shown(point, point.fails_per_s),
                _contradicting(point) or "—",
            )
            for point in sweep.saturation
        ],
    )


def _contradicting(point: SaturationPoint) -> str:
    return ", ".join(number(rate) for rate in point.exceptions)
