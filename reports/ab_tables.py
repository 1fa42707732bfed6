"""A comparison by turns, row by row: verdicts, both sides, how and where it was measured."""

from __future__ import annotations

from .ab_model import Ab, AbAnswer, AbMetric, AbSide, AbVerdict
from .comparison_tables import end_text
from .facts import hardware_of
from .format import ABSENT, count, moment, number, percent, plural, scale_of, setting
from .model import Cell, Table, Tone
from .setup_tables import flat, settings_table
from .tables import table

WORDS: dict[AbVerdict, tuple[str, Tone]] = {
    "regressed": ("▼\u00a0regressed", "bad"),
    "inconclusive": ("?\u00a0inconclusive", "caution"),
    "passed": ("✓\u00a0passed", "good"),
    "improved": ("▲\u00a0improved", "good"),
}


def change_text(ratio: float) -> str:
    """What a ratio adds, to a tenth of a percent: 1.107 is "+10.7"."""
    text = f"{100 * (ratio - 1):+.1f}".replace("-", "\u2212")
    return "0.0" if text[1:] == "0.0" else text


def interval_text(answer: AbAnswer) -> str:
    """ "+10.7 % (+2.1 to +19.0 %)"; that there are too few pairs for its end, where it has none."""
    change = f"{change_text(answer.ratio)}\u00a0%"
    if answer.low is None or answer.high is None:
        return f"{change} (too few pairs for an interval)"
    ends = "\u00a0".join((change_text(answer.low), "to", change_text(answer.high), "%"))
    return f"{change} ({ends})"


def ratio_text(ratio: float) -> str:
    """Three decimals: the sides may be this alike."""
    return f"{ratio:.3f}" if 0.1 <= ratio < 10 else end_text(ratio)


def verdict_table(ab: Ab) -> Table | None:
    """A row a metric that was judged; None where nothing was."""
    rows = [row for one in ab.metrics if (row := _verdict_row(one)) is not None]
    if not rows:
        return None
    effects = {f"{100 * one.effect:.3g} %" for one in ab.metrics}
    needed = f"Pairs for {effects.pop()}" if len(effects) == 1 else "Pairs for the effect"
    titles = (
        *("Metric", "Verdict", "B / A", "Interval", "Allowed", "A", "B", "Pairs", "Finds"),
        needed,
    )
    return table(
        "verdicts",
        "Verdicts",
        titles,
        rows,
        words=("Verdict",),
        note="B / A and its interval are of turns that followed each other; A and B are each "
        "side's median trial, for scale. Finds: the slowdown that so many pairs call "
        f"regressed nine times in ten. {needed}: how many, at most, call such a slowdown so.",
    )


def _verdict_row(metric: AbMetric) -> tuple[str | Cell, ...] | None:
    answer = metric.answer
    if answer is None:
        return None
    scale = scale_of(metric.unit, (answer.a, answer.b))
    ends = "too few pairs"
    if answer.low is not None and answer.high is not None:
        ends = f"{ratio_text(answer.low)} to {ratio_text(answer.high)}"
    needed = "> 1000" if answer.pairs_needed is None else count(answer.pairs_needed)
    return (
        metric.label,
        Cell(*WORDS[answer.verdict]),
        ratio_text(answer.ratio),
        ends,
        limit_text(metric),
        scale.quantity(answer.a),
        scale.quantity(answer.b),
        count(answer.pairs),
        "nothing" if answer.detectable is None else f"{100 * answer.detectable:.1f} %",
        needed.replace(" ", "\u00a0"),
    )


def limit_text(metric: AbMetric) -> str:
    """What B / A may be: "≥ 0.95" of a rate, "≤ 1.05" of a time."""
    sign = "≥" if metric.better == "higher" else "≤"
    return f"{sign}\u00a0{metric.limit:.4g}"


def sides_table(ab: Ab) -> Table:
    """What each side is, and the settings that are not the same."""
    rows: list[tuple[str | Cell, ...]] = [
        ("Engine", ab.a.label, ab.b.label),
        _beside("Options", ab.a.options or "none", ab.b.options or "none"),
        _beside("Source tree", *map(_tree, (ab.a, ab.b))),
        _beside("llmbench", ab.a.version, ab.b.version),
        *(row for row in _settings_rows(ab) if row[1] != row[2]),
    ]
    return table(
        "sides",
        "Both sides",
        ("", "A", "B"),
        [row for row in rows if any(row[1:])],
        words=("A", "B"),
        note="≠: not as A. Settings that are not here are the same.",
    )


def _tree(side: AbSide) -> str:
    tree = side.tree or "this llmbench"
    return f"{tree}, commit {side.commit}" if side.commit else tree


def _beside(name: str, a: str, b: str) -> tuple[str | Cell, ...]:
    return (name, a, b if a == b else Cell(f"≠ {b}", "caution"))


def _settings_rows(ab: Ab) -> list[tuple[str | Cell, ...]]:
    """Every setting of both sides; a side of an older tree may not say all."""
    names = dict.fromkeys((*ab.a.config, *ab.b.config))
    values = (
        (name, *(setting(name, side.config.get(name)) for side in (ab.a, ab.b))) for name in names
    )
    return [_beside(*row) for row in values]


def settings_of_both(ab: Ab) -> Table:
    titles = ("Setting", "A", "B")
    rows = _settings_rows(ab)
    return table("settings", "Every setting", titles, rows, words=titles, folded=True)


def how_table(ab: Ab) -> Table:
    """What was asked of both, and how it was judged."""
    counted = len(ab.counted)
    rows = [
        ("Pairs that count", f"{count(counted)}, in quads of two (ABBA or BAAB)"),
        ("Requests a trial", count(ab.num_requests)),
        ("Seed of the requests", str(ab.seed)),
        ("Coin that decided whose turn was first", str(ab.coin)),
        ("Quads dropped", count(len(ab.dropped))),
        ("Why it ended", ab.stopped or ab.failure),
        ("Chance that any verdict is wrong", f"at most {percent(ab.error_rate)}"),
        ("Used by the side that waits", f"{percent(ab.idle_share)} of a processor"),
        ("Began", moment(ab.created_at)),
        ("On", _hardware(ab)),
    ]
    return settings_table("how", "How it was measured", rows)


def _hardware(ab: Ab) -> str:
    """ "float32 on a processor, 2 cores to use"."""
    known = {"config": ab.a.config, "environment": ab.environment}
    cores = (ab.environment.get("cpu") or {}).get("usable_cores")
    return hardware_of(known) + (f", {plural(cores, 'core')} to use" if cores else "")


def dropped_table(ab: Ab) -> Table | None:
    """Quads that count for nothing, and trials of one that was cut off."""
    dropped = {one.place: one.why for one in ab.dropped}
    for pair in ab.pairs:
        if not pair.counts:
            dropped.setdefault(_quad(pair.place), "cut off")
    if not dropped:
        return None
    rows = [
        (quad_text(place), plural(_valid(ab, place), "trial"), why)
        for place, why in sorted(dropped.items())
    ]
    return table(
        "dropped",
        "What counts for nothing",
        ("Pairs", "Valid", "Why"),
        rows,
        words=("Why",),
        note="A quad of which one trial is not valid is dropped whole, whatever the others show.",
    )


def quad_text(place: int) -> str:
    """ "3–4": both pairs of the quad whose first is at that place."""
    return f"{place}–{place + 1}"


def _quad(place: int) -> int:
    """The place of its first pair."""
    return place - (place - 1) % 2


def _valid(ab: Ab, place: int) -> int:
    """Trials of the quad that begins there that were measured."""
    pairs = [pair for pair in ab.pairs if _quad(pair.place) == place]
    return sum(side is not None for pair in pairs for side in (pair.a, pair.b))


def machine_table(ab: Ab) -> Table:
    rows = [(name, setting(name, value)) for name, value in flat(ab.environment)]
    return settings_table("environment", "The machine", rows, folded=True)


def pairs_table(ab: Ab, metric: AbMetric) -> Table:
    """Every pair of a metric, as its chart draws it."""
    values = [side.get(metric.name) for pair in ab.pairs for side in (pair.a, pair.b) if side]
    scale = scale_of(metric.unit, values)
    unit = f" ({scale.unit})" if scale.unit else ""
    rows = [
        (
            str(pair.place),
            pair.first.upper(),
            *(scale.number(side.get(metric.name)) if side else ABSENT for side in (pair.a, pair.b)),
            _end(pair.ratio(metric.name)),
            "yes" if pair.counts else "no",
        )
        for pair in ab.pairs
    ]
    return table(
        f"pairs-{metric.id}-{metric.stat}-data",
        f"Every pair of {metric.label}",
        ("Pair", "First", f"A{unit}", f"B{unit}", "B / A", "Counts"),
        rows,
        words=("First", "Counts"),
    )


def _end(ratio: float | None) -> str:
    return ABSENT if ratio is None else ratio_text(ratio)


def forest_table(ab: Ab) -> Table:
    """What the forest plot draws."""
    rows = [
        (
            one.label,
            ratio_text(one.answer.ratio),
            *map(_end, (one.answer.low, one.answer.high)),
            number(one.limit),
        )
        for one in ab.metrics
        if one.answer is not None
    ]
    titles = ("Metric", "B / A", "From", "To", "Allowed up to")
    return table("ratios-data", "B / A with its interval", titles, rows)
