"""A factorial as tables: effects, interactions, where effects come from, every cell."""

from __future__ import annotations

from collections.abc import Sequence

from . import glossary
from .ablation_model import Ablation, AblationCell, AblationEffect, AblationResponse
from .effect_text import effect_text
from .format import ABSENT, number, percent, rounded_percent, scale_of, seconds
from .model import Cell, Table, Tone
from .tables import table

PARTS = {
    **{part.id.removesuffix("_s"): part.label for part in glossary.PARTS},
    "running": "Running at a time",
}
MECHANISMS: tuple[tuple[str, str, str], ...] = (
    ("queue_s", "Queue, mean", "s"),
    ("queue_share", "of TTFT", "share"),
    ("interference_s", "Prompts add to a token", "s"),
    ("spanned_share", "Tokens behind a prompt", "share"),
    ("running", "Running, mean", ""),
    ("running_peak", "Running, peak", ""),
    ("blocked_share", "Waiting for memory", "share"),
    ("closed_share", "Waiting for a batch to end", "share"),
    ("waste_share", "KV waste", "share"),
    ("preemptions", "Preemptions", ""),
    ("recomputed_share", "Recomputed", "share"),
    ("decode_s", "Token without prompts", "s"),
)


NO_CHANGE = "no change"
_ROUNDING = 1e-9  # what resampled means of equal numbers differ by


def effect_cell(effect: AblationEffect, response: AblationResponse) -> Cell:
    """ "▲ better −38 % [−45, −30]"; no word where it decides nothing, "?" where nothing could."""
    if response.too_few:
        return Cell(ABSENT, "quiet")
    text = effect_text(effect.value, effect.low, effect.high, response.scale, response.unit)
    if _is_nothing(effect, response):
        return Cell(NO_CHANGE, "quiet")
    if effect.low is None and not effect.significant:
        return Cell(text)
    if not effect.significant:
        return Cell(f"? {text}" if response.too_little else text, "quiet")
    return Cell(f"{_word(effect, response)}{text}", tone(effect, response))


def tone(effect: AblationEffect, response: AblationResponse) -> Tone:
    if not effect.significant or response.better == "none":
        return "plain"
    return "good" if _improves(effect, response) else "bad"


def sentences_table(ablation: Ablation) -> Table | None:
    """Every sentence; the first screen has the largest."""
    told = {effect.sentence: effect for effect in ablation.effects if effect.sentence}
    if not told:
        return None
    rows = []
    for sentence in ablation.sentences:
        # The row is named by the change, which every sentence begins with.
        change = told[sentence].changes[0].text
        rows.append((change, sentence.removeprefix(f"{change}: ")))
    return table(
        "sentences",
        "What moved, and through which mechanism",
        ("Change", "What it moved"),
        rows,
        words=("What it moved",),
        note="One sentence for each effect of a percent or more that holds after Holm's "
        "correction, main effects first, "
        "the largest first. “of it”: how much of the effect that part of the time accounts for.",
    )


def effects_table(ablation: Ablation) -> Table:
    """Main effects: a row a quantity, a column a change."""
    changes = list(dict.fromkeys(effect.text for effect in ablation.effects if effect.is_main))
    by_place = {(effect.response, effect.text): effect for effect in ablation.effects}
    rows = [
        (
            response.label,
            *(
                effect_cell(by_place[response.name, change], response)
                if (response.name, change) in by_place
                else Cell(ABSENT, "quiet")
                for change in changes
            ),
        )
        for response in ablation.responses
    ]
    few = dict.fromkeys(one.too_few for one in ablation.responses if one.too_few)
    unsure = any(response.too_little for response in ablation.responses)
    return table(
        "effects",
        "Main effects",
        ("Quantity", *changes),
        rows,
        words=changes,
        note="The change from the base, averaged over the other axes: of ratios the geometric "
        "mean. In brackets the 95 % interval of each. Better and worse: it holds after Holm's "
        "correction for all effects of this report. Counts have no interval in a single run."
        + (" ?: nothing can decide it; the notes say why." if unsure else "")
        + "".join(f" {ABSENT}: {why}." for why in few),
    )


def interactions_table(ablation: Ablation) -> Table | None:
    """How far the effect of one axis depends on another; exact counts are left out."""
    responses = {response.name: response for response in ablation.responses}
    found = [one for one in ablation.effects if not one.is_main and one.conditional]
    found = [one for one in found if one.low is not None and not responses[one.response].too_few]
    if not found:
        return None
    rows: list[Sequence[str | Cell]] = []
    for effect in sorted(found, key=lambda one: not one.significant):
        response = responses[effect.response]
        first, second = effect.changes
        sides = [
            f"{effect_text(side.value, side.low, side.high, response.scale, response.unit)} "
            f"with {side.level}"
            for side in effect.conditional
        ]
        factor, verdict = _factor(effect, response), _depends(effect, response)
        by = second.axis.replace("_", " ")
        rows.append((first.text, by, response.label, *sides, factor, verdict))
    return table(
        "interactions",
        "Interactions",
        ("Change", "By", "Quantity", "At its base", "At its level", "Factor", "Verdict"),
        rows,
        words=("By", "Quantity", "At its base", "At its level", "Factor", "Verdict"),
        note="Factor: the effect at the level over the effect at the base; for differences, less "
        "it. 1 (or 0) is no interaction: the main effects then say all.",
    )


def shares_table(ablation: Ablation) -> Table | None:
    """Where each effect that holds comes from."""
    responses = {response.name: response for response in ablation.responses}
    found = [one for one in ablation.effects if one.significant and one.shares]
    if not found:
        return None
    shown = [
        {part: _whole(one.shares[part]) if part in one.shares else "—" for part in PARTS}
        for one in found
    ]
    used = [part for part in PARTS if any(row[part] not in ("—", _whole(0)) for row in shown)]
    rows = [
        (one.text, responses[one.response].label, *(row[part] for part in used))
        for one, row in zip(found, shown, strict=True)
    ]
    return table(
        "shares",
        "Where the effects come from",
        ("Effect", "Quantity", *(PARTS[part] for part in used)),
        rows,
        words=("Quantity",),
        note="Shares of the effect's logarithm; they sum to 100 %. Above 100 %: other parts worked "
        "against it. A latency is the sum of its parts, as in the report of a run; a throughput is "
        "requests running over the time each takes a token.",
    )


def cells_table(ablation: Ablation) -> Table:
    """What every measured cell came to."""
    cells = ablation.measured
    scales = {
        one.name: scale_of(one.unit, [_shown(cell, one) for cell in cells])
        for one in ablation.responses
    }
    heads = [
        f"{one.label} ({scales[one.name].unit})" if _needs_unit(one) else one.label
        for one in ablation.responses
    ]
    rows = [
        (
            _name(cell),
            *(scales[one.name].number(_shown(cell, one)) for one in ablation.responses),
        )
        for cell in cells
    ]
    note = f"Means of {ablation.repeats} repeats." if ablation.repeats > 1 else ""
    return table("cells", "Every cell", ("Cell", *heads), rows, note=note)


def _shown(cell: AblationCell, response: AblationResponse) -> float | None:
    return None if response.too_few else cell.values.get(response.name)


def mechanisms_table(ablation: Ablation) -> Table:
    """What every measured cell's engine did."""
    rows = [
        (_name(cell), *(_amount(cell.mechanism.get(name), unit) for name, _, unit in MECHANISMS))
        for cell in ablation.measured
    ]
    return table(
        "mechanisms",
        "What each engine did",
        ("Cell", *(title for _, title, _ in MECHANISMS)),
        rows,
        note="Waiting for memory: the share of step time in which a request waited though the "
        "batch and its token budget had room; under static batching that is waiting for the batch "
        "to end. Recomputed: of all tokens computed.",
    )


def left_out_table(ablation: Ablation) -> Table | None:
    rows: list[Sequence[str | Cell]] = [
        (_name(cell), Cell(cell.status, "bad"), cell.reason)
        for cell in ablation.cells
        if cell.status != "measured"
    ]
    if not rows:
        return None
    return table(
        "left-out",
        "Cells that enter no effect",
        ("Cell", "State", "Why"),
        rows,
        words=("State", "Why"),
    )


def _depends(effect: AblationEffect, response: AblationResponse) -> Cell:
    if effect.significant:
        return Cell("✓ depends", "caution")
    return Cell(NO_CHANGE if _is_nothing(effect, response) else "? unclear", "quiet")


def _is_nothing(effect: AblationEffect, response: AblationResponse) -> bool:
    """Whether it is exactly none, as where both levels make one schedule; nobody has to be sure."""
    none = 1.0 if response.scale == "ratio" else 0.0
    found = [one for one in (effect.value, effect.low, effect.high) if one is not None]
    return not response.too_little and all(abs(one - none) < _ROUNDING for one in found)


def _factor(effect: AblationEffect, response: AblationResponse) -> str:
    if response.scale == "difference":
        return effect_text(effect.value, effect.low, effect.high, response.scale, response.unit)
    ends = ", ".join(number(end) for end in (effect.low, effect.high))
    return f"{number(effect.value)}× [{ends}]"


def _word(effect: AblationEffect, response: AblationResponse) -> str:
    if response.better == "none":
        return ""
    return "▲ better " if _improves(effect, response) else "▼ worse "


def _improves(effect: AblationEffect, response: AblationResponse) -> bool:
    rises = effect.value > (1 if response.scale == "ratio" else 0)
    return rises == (response.better == "higher")


def _needs_unit(response: AblationResponse) -> bool:
    return response.unit in ("s", "share", "tokens/s")


def _whole(share: float) -> str:
    return rounded_percent(share).replace("-", "\u2212")


def _name(cell: AblationCell) -> str:
    return ", ".join(cell.levels)


def _amount(value: float | None, unit: str) -> str:
    if unit == "s":
        return seconds(value)
    if unit == "share":
        return percent(None if value is None else round(value, 4))
    return number(None if value is None else round(value, 1))
