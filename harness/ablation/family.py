"""What holds among all the effects of a factorial, and what is worth a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...reports.ablation_model import AblationEffect, Conditional
from ...reports.glossary import setting_text
from ..comparison.evidence import ERROR_RATE
from ..stats.holm import holm
from .contrasts import Contrast
from .design import Level
from .effects import EffectEstimate
from .factorial import Repeats
from .mechanism import Explanation
from .noise import Noise
from .responses import Response
from .reversal import Reversal, reversal
from .sentences import interaction_sentence, main_sentence
from .told import told_change

# An effect below one percent, or a share's below one point, is in the tables and in no sentence;
# an interaction is a difference of two.
LEAST_TOLD = 0.01


@dataclass(frozen=True)
class Found:
    """One effect on one response, before the family is known. given: of a main effect, axis, level
    and the effect there."""

    response: Response
    contrast: Contrast
    spread: EffectEstimate
    explanation: Explanation | None
    sides: tuple[EffectEstimate, EffectEstimate] | None = None
    given: Sequence[tuple[str, Level, EffectEstimate]] = ()


def judge_family(
    found: Sequence[Found], short: Mapping[str, str], noise: Noise | None, repeats: Repeats
) -> tuple[AblationEffect, ...]:
    """Holm's correction runs over every effect that has a spread and may decide something, and over
    a main effect at each level of the other axes: that it turns round is said, too."""
    floor = noise.size if noise is not None else 0.0
    # An effect itself, then what it is at each level.
    family = {
        (at, nth): spread.p
        for at, one in enumerate(found)
        for nth, spread in enumerate((one.spread, *(spread for _, _, spread in one.given)))
        if spread.p is not None and not short[one.response.name]
    }
    adjusted = dict(zip(family, holm(list(family.values())), strict=True))
    effects = []
    for at, one in enumerate(found):
        sure = [
            known
            for nth, known in enumerate(one.given, start=1)
            if _holds(known[2], adjusted.get((at, nth)), one.response, floor)
        ]
        turned = reversal(sure, one.response.scale)
        effects.append(_effect(one, adjusted.get((at, 0)), floor, repeats, turned))
    return tuple(effects)


def _holds(spread: EffectEstimate, p: float | None, response: Response, floor: float) -> bool:
    """floor: the logarithm of a ratio that the machine alone could be, of what is not of a text."""
    if p is None or p >= ERROR_RATE:
        return False
    if response.scale != "ratio" or response.sampled == "text" or not floor:
        return True
    return abs(math.log(spread.value)) > floor


def _effect(
    one: Found, p: float | None, floor: float, repeats: Repeats, turned: Reversal | None
) -> AblationEffect:
    # An interaction is a difference of two.
    most = floor * len(one.contrast.changes)
    significant = _holds(one.spread, p, one.response, most)
    return AblationEffect(
        changes=tuple(told_change(change) for change in one.contrast.changes),
        response=one.response.name,
        value=one.spread.value,
        low=one.spread.low,
        high=one.spread.high,
        p=p,
        significant=significant,
        conditional=_conditionals(one),
        sentence=_sentence(one, repeats, turned) if significant and _worth_telling(one) else "",
        shares=dict(one.explanation.shares) if one.explanation is not None else {},
    )


def _worth_telling(one: Found) -> bool:
    """A simulated machine makes a difference of a thousandth certain, and no more interesting."""
    if one.response.sampled in ("exact", "text"):
        return False
    value = one.spread.value
    size = abs(math.log(value)) if one.response.scale == "ratio" else abs(value)
    return size >= LEAST_TOLD * len(one.contrast.changes)


def _sentence(one: Found, repeats: Repeats, turned: Reversal | None) -> str:
    if one.sides is not None:
        return interaction_sentence(
            one.response, one.contrast, one.spread, *one.sides, one.explanation
        )
    return main_sentence(one.response, one.contrast, one.spread, one.explanation, repeats, turned)


def _conditionals(one: Found) -> tuple[Conditional, ...]:
    if one.sides is None:
        return ()
    second = one.contrast.changes[1]
    return tuple(
        Conditional(setting_text(second.axis, level), side.value, side.low, side.high)
        for level, side in zip((second.base, second.level), one.sides, strict=True)
    )


def largest_first(
    effects: Sequence[AblationEffect], responses: Sequence[Response]
) -> list[AblationEffect]:
    """Main effects before interactions; within each, ratios by the size of their logarithm, with a
    difference of a share counted as it is."""
    scales = {one.name: one.scale for one in responses}

    def size(effect: AblationEffect) -> float:
        ratio = scales[effect.response] == "ratio"
        return abs(float(np.log(effect.value))) if ratio else abs(effect.value)

    told = [effect for effect in effects if effect.sentence]
    return sorted(told, key=lambda effect: (not effect.is_main, -size(effect)))
