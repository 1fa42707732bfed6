"""What a sweep comes to, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from .comparison_tables import end_text, ratio_text
from .effect_text import response_label
from .format import listed, number, quantity
from .glossary import in_sentence
from .sweep_model import SaturationPoint, SweepLead, SweepQuantity, SweepTable

AT_ONCE = "all at once"
# Of the quantities that have a best point, those in the first sentence.
_TOLD = ("output_throughput.window", "ttft.p99", "tpot.mean")
# More names than these make a sentence that nobody reads.
_MOST_NAMED = 4


def verdict(sweep: SweepTable) -> str:
    """Who follows the highest rate; of a grid, the best point of each quantity of `_TOLD`, or which
    points cannot be told apart."""
    if sweep.saturation:
        # All at once, which `always` holds, is above any rate.
        best = max(
            sweep.saturation,
            key=lambda one: (
                one.outcome == "always",
                one.outcome != "unknown",
                one.holds_per_s or 0,
            ),
        )
        alike = [one for one in sweep.saturation if one.outcome == best.outcome == "always"]
        if len(alike) > 1:
            names = " and ".join(setting_text(one.settings) for one in alike)
            return f"{names}: each {rate_text(best)}."
        if others := _within_bracket(sweep, best):
            each = (f"{setting_text(one.settings)} ({rate_text(one)})" for one in (best, *others))
            return f"{listed(list(each))}: which follows more cannot be told."
        where = setting_text(best.settings) if best.settings else "It"
        return f"{where} {rate_text(best)}."
    by_name = {one.name: one for one in sweep.quantities}
    told = [
        _lead_text(by_name[lead.quantity], lead)
        for lead in sweep.leads
        if lead.quantity in _TOLD and lead.quantity in by_name
    ]
    return (
        f"{told[0][0].upper()}{'; '.join(told)[1:]}." if told else "No cell has a run that counts."
    )


def _lead_text(one: SweepQuantity, lead: SweepLead) -> str:
    """`highest output throughput 2 071 tokens/s with engine paged (next: engine inflight, 0.91×,
    0.88 to 0.94)`, or which points cannot be told apart."""
    name, at = in_sentence(label_of_quantity(one)), setting_text(lead.settings)
    value = quantity(lead.value, one.unit)
    word = "highest" if one.better == "higher" else "lowest"
    if lead.alike:
        return f"no {word} {name}: {_alike_text(one, lead)}"
    if (other := lead.next) is None:
        return f"{word} {name} {value} with {at}"
    far = f", {ratio_text(other.value / lead.value)}×" if lead.value else ""
    if far and other.low is not None and other.high is not None:
        far += f", {end_text(other.low)} to {end_text(other.high)}"
    return f"{word} {name} {value} with {at} (next: {setting_text(other.settings)}{far})"


def _alike_text(one: SweepQuantity, lead: SweepLead) -> str:
    alike = [(lead.settings, lead.value), *((other.settings, other.value) for other in lead.alike)]
    named = [f"{setting_text(at)} ({quantity(value, one.unit)})" for at, value in alike]
    if len(named) > _MOST_NAMED:
        named = [*named[: _MOST_NAMED - 1], f"{len(named) - _MOST_NAMED + 1} others"]
    reasons = {other.too_little for other in lead.alike}
    reason = reasons.pop() if len(reasons) == 1 else ""
    return f"{listed(named)} cannot be told apart{f', since {reason}' if reason else ''}"


def _within_bracket(sweep: SweepTable, best: SaturationPoint) -> list[SaturationPoint]:
    """Others whose highest rate may be the best one's, too: it lies anywhere between the rate that
    was followed and the one that was not."""
    if best.outcome != "found" or best.holds_per_s is None:
        return []
    held = best.holds_per_s
    return [
        one
        for one in sweep.saturation
        if one is not best
        and one.outcome == "found"
        and (one.fails_per_s is None or one.fails_per_s > held)
    ]


def setting_text(settings: Mapping[str, str]) -> str:
    """`engine paged, request-rate 2`."""
    return ", ".join(f"{option} {value}" for option, value in settings.items()) or "the run"


def rate_text(point: SaturationPoint) -> str:
    """`follows 4.2 requests/s, not 4.3`."""
    if point.outcome == "never":
        return f"follows no rate: not even {quantity(point.fails_per_s, 'requests/s')}"
    if point.outcome == "always":
        return "follows any rate with so few requests: all at once, too"
    followed = f"follows {quantity(point.holds_per_s, 'requests/s')}"
    missed = AT_ONCE if point.fails_per_s is None else number(point.fails_per_s)
    if point.outcome == "unknown":
        known = [followed] if point.holds_per_s is not None else []
        if point.fails_per_s is not None:
            known.append(f"not {missed}")
        return "has no highest rate that is known" + (f": {', '.join(known)}" if known else "")
    return f"{followed}, not {missed}"


def label_of_quantity(one: SweepQuantity) -> str:
    return response_label(one.id, one.stat)
