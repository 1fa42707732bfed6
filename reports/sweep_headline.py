"""What a sweep comes to, in a sentence or two; tables have the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .format import listed, plural, quantity
from .glossary import in_sentence
from .measure import Measure
from .sweep_model import SweepCell, SweepLead, SweepTable
from .sweep_searches import Searches, by_point

# Of the quantities that have a best point, the first two of these are told.
_TOLD = ("output_throughput.window", "output_throughput.run", "ttft.p99", "tpot.mean")
_MOST_TOLD = 2
# More names than these make a sentence that nobody reads.
_MOST_NAMED = 3
_MOST_SEARCHED = 8


def verdict(sweep: SweepTable) -> str:
    """The highest rate of every point; of a grid, the best point of two quantities."""
    if sweep.saturation:
        return _rates_text(by_point(sweep.saturation))
    by_name = {one.name: one for one in sweep.quantities}
    points = len({_key(cell) for cell in sweep.counted})
    told = [_lead_text(by_name[lead.quantity], lead, points) for lead in told_leads(sweep)]
    return " ".join(told) or "No cell has a run that counts."


def told_leads(sweep: SweepTable) -> list[SweepLead]:
    """Those of a grid that its headline is about."""
    known = {one.name for one in sweep.quantities}
    told = [one for one in sweep.leads if one.quantity in _TOLD and one.quantity in known]
    return told[:_MOST_TOLD]


def _rates_text(points: Sequence[Searches]) -> str:
    """`engine paged follows 4.2 requests/s, not 4.3; engine static 2.1, not 2.2.`, highest first,
    and which of them may be the highest."""
    ordered = sorted(points, key=lambda one: (one.outcome == "found", one.holds_per_s or 0.0))[::-1]
    named = ordered if len(ordered) <= _MOST_SEARCHED else ordered[: _MOST_SEARCHED - 1]
    parts: list[str] = []
    for one in named:
        text = one.text
        if parts and one.outcome == ordered[0].outcome == "found":
            text = text.removeprefix("follows ")
            if one.unit == ordered[0].unit:
                text = text.replace(f" {one.unit}", "")
        parts.append(f"{setting_text(one.settings)} {text}" if one.settings else f"It {text}")
    if rest := len(ordered) - len(named):
        parts.append(f"{rest} others no more")
    said = f"{'; '.join(parts)}."
    if alike := _within_bracket(ordered):
        names = listed([setting_text(one.settings) for one in alike[:_MOST_NAMED]])
        more = f" (and {len(alike) - _MOST_NAMED} others)" if len(alike) > _MOST_NAMED else ""
        said += f" Which of {names}{more} follows most cannot be told."
    return said


def _within_bracket(ordered: Sequence[Searches]) -> list[Searches]:
    """The best and others whose highest rate may be the best one's, too: it lies anywhere between
    the rate that was followed and the one that was not, in any of a point's searches. Empty if it
    is alone."""
    best, *others = ordered
    if best.outcome != "found":
        return []
    near = [one for one in others if one.outcome == "found" and one.fails_per_s > best.lowest_per_s]
    return [best, *near] if near else []


def _key(cell: SweepCell) -> tuple[tuple[str, str], ...]:
    return tuple(cell.settings.items())


def _lead_text(one: Measure, lead: SweepLead, points: int) -> str:
    """`Highest output throughput: engine paged, 2 071 tokens/s.`, and whether it surely is."""
    word = "Highest" if one.better == "higher" else "Lowest"
    name = f"{word} {in_sentence(one.label)}"
    if 1 < points == 1 + len(lead.alike):
        return f"{name}: no point is surely ahead of another."
    ahead = f", not surely ahead of {plural(len(lead.alike), 'other')}" if lead.alike else ""
    return f"{name}: {setting_text(lead.settings)} ({quantity(lead.value, one.unit)}){ahead}."


def alike_text(lead: SweepLead) -> str:
    """`paged, 4; orca, 4 and 4 others`, each by its values."""
    named = [values_text(one) for one in (lead.settings, *(other.settings for other in lead.alike))]
    rest = len(named) - _MOST_NAMED
    if rest > 1:
        return f"{'; '.join(named[:_MOST_NAMED])} and {rest} others"
    return "; ".join(named)


def values_text(settings: Mapping[str, str]) -> str:
    """`paged, 2`, where the options stand above."""
    return ", ".join(settings.values()) or "the run"


def setting_text(settings: Mapping[str, str]) -> str:
    """`engine paged, request-rate 2`."""
    return ", ".join(f"{option} {value}" for option, value in settings.items()) or "the run"
