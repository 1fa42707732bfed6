"""Where latency went: bars of the parts that TTFT and slow token gaps are made of, and tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .facts import counted_as
from .format import Scale, addends, count, listed, number, percent, plural, scale_of, seconds
from .glossary import PARTS, in_sentence
from .model import Axis, Chart, Panel, Run, Series, Table
from .tables import table
from .tails import samples_needed

Parts = Mapping[str, float]
Band = Mapping[str, Any]

_ROLES = {
    "queue_s": "queued",
    "own_prefill_s": "prefill",
    "others_prefill_s": "others_prefill",
    "decode_s": "decode",
    "preemption_s": "preempted",
    "host_s": "phase_host",
    "residual_s": "residual",
}
_SLOWEST = "Slowest 1\u00a0%"
_TTFT_BANDS = {"mean": "All", "p50": "Around the median", "p99": _SLOWEST}
_ITL_BANDS = {"mean": "All", "slow": "Slow", "p99": _SLOWEST}
# Less than a nanosecond is rounding.
ROUNDING_S = 1e-9


def first_token(run: Run) -> Chart | None:
    """What TTFT is made of: all requests, those in the middle, the slowest."""
    found = run.result.get("attribution")
    if not found:
        return None
    return _bars(
        "ttft-parts",
        "Where the time to first token went",
        counted_as(run.result["config"])[1].capitalize(),
        _named(found["ttft"], _TTFT_BANDS, counted_as(run.result["config"])),
        reading=_first_token_reading(found["ttft"], counted_as(run.result["config"])[0]),
        note=_told_apart(found),
    )


def slow_tokens(run: Run) -> Chart | None:
    """What the gaps between tokens are made of: all, the slow ones, the slowest."""
    found = run.result.get("attribution")
    if not found or not found["itl"]:
        return None
    return _bars(
        "slow-token-parts",
        "Where slow tokens came from",
        "Gaps",
        _named(found["itl"], _ITL_BANDS, ("gap", "gaps")),
        reading=_slow_reading(found),
        note=_delayed(found),
    )


def compared(
    runs: Sequence[Run], undecided: Mapping[str, Collection[str]] = MappingProxyType({})
) -> tuple[Chart, ...]:
    """The mean TTFT, and the mean gap between tokens, of each run by part. undecided: by `ttft` and
    `tpot`, of which runs it is not decided whether the mean differs from the first run's."""
    found = [(run.name, run.result.get("attribution")) for run in runs]
    first = [(name, one["ttft"][0]["parts"]) for name, one in found if one]
    gaps = [(name, one["itl"][0]["parts"]) for name, one in found if one and one["itl"]]
    charts = (
        ("ttft-parts", "Where the time to first token went", "mean TTFT", "ttft", first),
        (
            "gap-parts",
            "Where the time between tokens went",
            "mean gap between tokens",
            "tpot",
            gaps,
        ),
    )
    return tuple(
        _bars(chart_id, title, "Run", rows, reading=_difference(what, rows, undecided.get(of, ())))
        for chart_id, title, what, of, rows in charts
        if len(rows) > 1
    )


def _difference(what: str, rows: Sequence[tuple[str, Parts]], undecided: Collection[str]) -> str:
    """Which part moved most between the first run and each other; of those that differ by chance,
    for all that is known, that."""
    (base, before), *others = rows
    said: list[str] = []
    alike: list[str] = []
    for name, after in others:
        if name in undecided:
            continue
        moved = max(PARTS, key=lambda part: abs(after[part.id] - before[part.id]))
        change_s = after[moved.id] - before[moved.id]
        if abs(change_s) < ROUNDING_S:
            alike.append(name)
            continue
        more = "more" if change_s > 0 else "less"
        said.append(f"{name} {seconds(abs(change_s))} {more} {moved.label.lower()}")
    text = f"What differs most from {base} in the {what}: {'; '.join(said)}." if said else ""
    if alike:
        text += f" The {what} of {listed(alike)} is {base}'s, part by part."
    if open_ := [name for name, _ in others if name in undecided]:
        text += (
            f" Whether the {what} of {listed(open_)} differs from {base}'s is not decided: the "
            "bars are what was measured, and no finding."
        )
    return text.strip()


def parts(run: Run) -> Table | None:
    """Every mean that was split, one a row."""
    found = run.result.get("attribution")
    if not found:
        return None
    rows = [_row("TTFT", _name(found["ttft"], band, _TTFT_BANDS), band) for band in found["ttft"]]
    if found["tpot"]:
        rows.append(("TPOT, all", "", *quantities(found["tpot"])))
    rows += [
        _row("Token gaps", _name(found["itl"], band, _ITL_BANDS), band) for band in found["itl"]
    ]
    return table(
        "latency-parts",
        "Latency by part",
        ("Latency", "Count", "Measured", *(part.label for part in PARTS)),
        rows,
        note="Means; parts are in the unit of what was measured, and sum to it. "
        f"{_told_apart(found)}",
    )


def measured_s(parts: Parts) -> float:
    """The time that was split."""
    return sum(parts.values())


def largest(parts: Parts) -> tuple[str, float]:
    """The part that took most, as it is called in a sentence, and its share."""
    whole_s = measured_s(parts)
    part = max(PARTS, key=lambda one: parts[one.id])
    return part.label.lower(), parts[part.id] / whole_s if whole_s > 0 else 0.0


def _named(
    bands: Sequence[Band], names: Mapping[str, str], of: tuple[str, str]
) -> list[tuple[str, Parts]]:
    """of: what a band holds, one and many."""
    return [
        (f"{_name(bands, band, names)}, {plural(band['count'], *of)}", band["parts"])
        for band in bands
    ]


def _name(bands: Sequence[Band], band: Band, names: Mapping[str, str]) -> str:
    """One of a few dozen is the slowest, and no hundredth of them."""
    known = names[band["name"]]
    return known if known != _SLOWEST or _has_hundredth(bands) else "Slowest"


def _has_hundredth(bands: Sequence[Band]) -> bool:
    return bands[0]["count"] >= samples_needed(99)


def _bars(
    chart_id: str,
    title: str,
    of: str,
    rows: Sequence[tuple[str, Parts]],
    *,
    reading: str,
    note: str = "",
) -> Chart:
    """A bar a row, the first on top. of: what the rows are."""
    drawn = list(reversed(rows))  # bars are drawn from the bottom up
    used = [part for part in PARTS if any(_shown(parts[part.id]) for _, parts in rows)]
    scale = _scale([parts for _, parts in rows])
    return Chart(
        id=chart_id,
        title=title,
        reading=reading,
        x=Axis("Time", scale.unit),
        panels=(
            Panel(
                y=Axis(of, categories=tuple(name for name, _ in drawn)),
                series=tuple(
                    Series(
                        part.label,
                        _ROLES[part.id],
                        "bar",
                        x=tuple(scale.factor * _shown(parts[part.id]) for _, parts in drawn),
                        y=tuple(float(position) for position in range(len(drawn))),
                    )
                    for part in used
                ),
            ),
        ),
        note=note,
        width="half",
    )


def _scale(bars: Sequence[Parts]) -> Scale:
    return scale_of("s", [measured_s(parts) for parts in bars])


def _first_token_reading(bands: Sequence[Band], one: str) -> str:
    """one: what has a first token, a request or a reply."""
    of = {band["name"]: band["parts"] for band in bands}
    name, share = largest(of["mean"])
    slow_name, slow_share = largest(of["p99"])
    scale = _scale([band["parts"] for band in bands])
    mean, slowest = (scale.quantity(measured_s(of[name])) for name in ("mean", "p99"))
    which = "slowest 1 %" if _has_hundredth(bands) else f"slowest {one}"
    return (
        f"Of the mean TTFT of {mean}, {percent(share)} was {name}; of the {which}, {slowest}, "
        f"{percent(slow_share)} was {slow_name}."
    )


def _slow_reading(found: Mapping[str, Any]) -> str:
    of = {band["name"]: band for band in found["itl"]}
    limit = seconds(found["slow_token_s"])
    if "slow" not in of:
        return f"No gap was longer than {limit}, twice the median: no token was slow."
    slow, mean = of["slow"], of["mean"]
    name, share = largest(slow["parts"])
    return (
        f"{percent(slow['count'] / mean['count'])} of the gaps were longer than {limit}, twice the "
        f"median; {percent(share)} of their time was {name}."
    )


def _told_apart(found: Mapping[str, Any]) -> str:
    """How prefill and decode of one step were told apart, and how often."""
    measured, by_tokens = found["mixed_steps_by_evidence"], found["mixed_steps_by_tokens"]
    if not measured and not by_tokens:
        return "No step held both prefill and decode, so nothing had to be told apart."
    text = (
        f"In {plural(measured, 'mixed step')} the decodes' time is what decode-only steps of "
        "similar width took, and the rest is prefill"
    )
    if by_tokens:
        text += (
            f"; in {count(by_tokens)}, for want of such steps, time is split by tokens, which "
            "gives prefill too much"
        )
    return f"{text}."


def _delayed(found: Mapping[str, Any]) -> str:
    return (
        f"{percent(found['mixed_step_share'])} of the steps held both prefill and decode; "
        f"{percent(found['delayed_decode_step_share'])} of the steps with decodes were delayed by "
        "another request's prefill."
    )


def _row(latency: str, which: str, band: Band) -> tuple[str, ...]:
    name = f"{latency}, {in_sentence(which)}"
    return (name, count(band["count"]), *quantities(band["parts"]))


def quantities(parts: Parts) -> tuple[str, ...]:
    """The measured time with its unit, then the parts in it, so that they can be compared by
    eye."""
    whole_s = measured_s(parts)
    scale = scale_of("s", [whole_s])
    return (scale.quantity(whole_s), *numbers(parts, scale)[1:])


def numbers(parts: Parts, scale: Scale) -> tuple[str, ...]:
    """The measured time, then the parts in it, all in that unit."""
    whole = scale.factor * measured_s(parts)
    shown = (scale.factor * _shown(parts[part.id]) for part in PARTS)
    return (number(whole), *addends(whole, shown))


def _shown(value_s: float) -> float:
    return value_s if abs(value_s) > ROUNDING_S else 0.0
