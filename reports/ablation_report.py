"""What is said about a factorial, in reading order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .ablation_model import Ablation, AblationEffect, AblationResponse
from .ablation_tables import (
    cells_table,
    effects_table,
    interactions_table,
    left_out_table,
    mechanisms_table,
    sentences_table,
    shares_table,
)
from .effect_text import effect_text
from .format import as_sentence, plural
from .headline import simulated_badge
from .model import (
    Axis,
    Badge,
    Chart,
    Guide,
    KeyFigure,
    Note,
    Panel,
    Report,
    Section,
    Series,
    present,
)
from .tables import glossary

WHOLE = Badge("Whole factorial", "✓", "good")
PARTLY = Badge("Whole factorial, with cautions", "!", "caution")
INCOMPLETE = Badge("Cells left out", "!", "caution")
UNDECIDED = Badge("Nothing decided", "?", "caution")
# An interval wholly this close to none is no effect that anyone would choose by, as in `compare`.
_NONE = 0.02
FIRST_SENTENCES = 5
# Exact in every run, or of a text and no load: these enter no sentence.
COUNTED = ("running", "counters", "quality")


def ablation_report(ablation: Ablation) -> Report:
    """Everything a report says about a factorial."""
    sentences = _first_sentences(ablation)
    return Report(
        title=f"Ablation: {ablation.title}",
        subtitle=" · ".join((_size(ablation), *ablation.setting)),
        badge=_badge(ablation),
        verdict=sentences[0] if sentences else nothing_told(ablation),
        statements=sentences[1:],
        figures=_key_figures(ablation),
        notes=_notes(ablation),
        sections=tuple(section for section in _sections(ablation) if section.parts),
        footer=ablation.command,
        premise=simulated_text(ablation) if ablation.simulated else "",
    )


def _badge(ablation: Ablation) -> Badge:
    """Green says that something was decided, and not only that everything was measured."""
    if len(ablation.measured) < len(ablation.cells):
        return INCOMPLETE
    if not ablation.sentences:
        return UNDECIDED
    judged = _judged(ablation)
    undecided = sum(bool(one.too_little) for one in judged)
    if 2 * undecided > len(judged):
        return PARTLY
    # No simulated factorial is simply whole: nothing was measured.
    return simulated_badge(cautions=bool(ablation.notes)) if ablation.simulated else WHOLE


def _judged(ablation: Ablation) -> list[AblationResponse]:
    """What a spread shows how sure it is."""
    return [
        one for one in ablation.responses if one.id not in COUNTED and _has_intervals(ablation, one)
    ]


def nothing_told(ablation: Ablation) -> str:
    """Why there is no sentence: what was measured cannot decide, or no effect stands out. The
    notes, which stand below it, have the reasons."""
    judged = _judged(ablation)
    if judged and all(one.too_little for one in judged):
        return "No effect can be told from no effect: the notes say why."
    some = any(one.too_little for one in judged)
    why = "; some cannot be told at all: the notes say why" if some else ""
    return f"No effect could be told from no effect{why}."


def _has_intervals(ablation: Ablation, response: AblationResponse) -> bool:
    return any(one.response == response.name and one.low is not None for one in ablation.effects)


def _first_sentences(ablation: Ablation) -> tuple[str, ...]:
    """Each change's largest before anyone's second: else one change takes the whole screen."""
    changes = {effect.sentence: effect.text for effect in ablation.effects if effect.sentence}
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, str]] = []
    for at, sentence in enumerate(ablation.sentences):
        change = changes[sentence]
        ranked.append((seen[change], at, sentence))
        seen[change] += 1
    return tuple(sentence for _, _, sentence in sorted(ranked)[:FIRST_SENTENCES])


def _size(ablation: Ablation) -> str:
    levels = " × ".join(str(len(axis.levels)) for axis in ablation.axes)
    done = "simulated" if ablation.simulated else "measured"
    return (
        f"{levels} factorial, {len(ablation.measured)} of {plural(len(ablation.cells), 'cell')} "
        f"{done}, {plural(ablation.repeats, 'repeat')} each"
    )


def _notes(ablation: Ablation) -> tuple[Note, ...]:
    told = (as_sentence(text, keeps=_is_cell) for text in ablation.notes)
    return tuple(Note(text, "caution") for text in told)


def simulated_text(ablation: Ablation) -> str:
    """Where the step times are from, and how wrong they may be."""
    text = "Simulated, not measured: step times are a cost model's"
    error = ablation.simulation_error
    return f"{text}. How wrong they may be: {error}." if error else f"{text}."


def _is_cell(word: str) -> bool:
    return "=" in word


def _key_figures(ablation: Ablation) -> tuple[KeyFigure, ...]:
    """For each change, the largest factor that holds; where none does, the largest difference."""
    responses = {response.name: response for response in ablation.responses}
    figures = []
    for change in dict.fromkeys(one.text for one in ablation.effects if one.is_main):
        held = [one for one in ablation.effects if one.text == change and one.significant]
        ratios = [one for one in held if responses[one.response].scale == "ratio"]
        if not held:
            figures.append(_nothing_held(ablation, change))
            continue
        of = _logarithm if ratios else float
        largest = max(ratios or held, key=lambda one: abs(of(one.value)))
        response = responses[largest.response]
        text = effect_text(largest.value, largest.low, largest.high, response.scale, response.unit)
        value, _, interval = text.partition(" [")
        detail = f"{response.label} [{interval}" if interval else response.label
        figures.append(KeyFigure(change, value, "", f"most moved: {detail}"))
    return tuple(figures)


def _nothing_held(ablation: Ablation, change: str) -> KeyFigure:
    """That there is no effect, where every interval is narrow around none, or where a simulation
    gave the same numbers to the last; else that nothing was decided, and of what least."""
    responses = {
        one.name: one for one in ablation.responses if one.id not in COUNTED and not one.too_few
    }
    if ablation.simulated and _unmoved(ablation, change):
        return KeyFigure(change, "none", "", "every simulated step is the same")
    judged = [
        one
        for one in ablation.effects
        if one.text == change and one.low is not None and one.response in responses
    ]
    wide = [
        one
        for one in judged
        if responses[one.response].too_little or _reach(one, responses[one.response]) > _NONE
    ]
    if judged and not wide:
        return KeyFigure(change, "none", "", "every interval is within 2 % of no effect")
    if not wide:
        return KeyFigure(change, "undecided", "", "nothing has an interval")
    widest = max(wide, key=lambda one: _reach(one, responses[one.response]))
    of = responses[widest.response]
    text = effect_text(widest.value, widest.low, widest.high, of.scale, of.unit)
    return KeyFigure(change, "undecided", "", f"least sure: {of.label} {text}")


def _unmoved(ablation: Ablation, change: str) -> bool:
    """Whether every number is what it was: a simulated machine repeats itself."""
    none = {one.name: 1.0 if one.scale == "ratio" else 0.0 for one in ablation.responses}
    effects = [one for one in ablation.effects if one.text == change]
    return bool(effects) and all(
        math.isclose(one.value, none[one.response], abs_tol=1e-9) for one in effects
    )


def _reach(effect: AblationEffect, response: AblationResponse) -> float:
    """How far from none the interval reaches: of a ratio to either side alike, as a share."""
    ends = [one for one in (effect.low, effect.high) if one is not None]
    if response.scale == "ratio":
        return max(math.expm1(abs(_logarithm(one))) for one in ends)
    return max(map(abs, ends))


def _logarithm(value: float) -> float:
    """Of a ratio; one of nothing to something has none."""
    return math.log(value) if value > 0 else value


def _sections(ablation: Ablation) -> tuple[Section, ...]:
    return (
        Section("moved", "What moved", present(sentences_table(ablation))),
        Section(
            "effects",
            "Effects",
            (effects_table(ablation), *forests(ablation)),
        ),
        Section("interactions", "Interactions", present(interactions_table(ablation))),
        Section(
            "mechanisms",
            "Mechanisms",
            present(shares_table(ablation), mechanisms_table(ablation)),
        ),
        Section("cells", "Cells", present(cells_table(ablation), left_out_table(ablation))),
        Section("glossary", "Glossary", (glossary(),)),
    )


def forests(ablation: Ablation) -> tuple[Chart, ...]:
    """One forest plot a quantity that has intervals: main effects, then interactions."""
    return tuple(
        chart
        for response in ablation.responses
        if (chart := _forest(ablation, response)) is not None
    )


def _forest(ablation: Ablation, response: AblationResponse) -> Chart | None:
    effects = [
        one
        for one in ablation.effects
        if one.response == response.name and one.low is not None and one.high is not None
    ]
    if not effects or response.too_few:
        return None
    ratio = response.scale == "ratio"
    factor = 100.0 if response.unit == "share" and not ratio else 1.0
    unit = "×" if ratio else "points" if response.unit == "share" else response.unit
    roles = {
        "effect_main": "Main effect that holds",
        "effect_interaction": "Interaction that holds",
        "effect_unsure": "Not told from none",
    }
    series = tuple(
        _intervals(name, role, effects, response, factor)
        for role, name in roles.items()
        if any(_role(one) == role for one in effects)
    )
    better = {"lower": "left is better", "higher": "right is better", "none": "no side is better"}
    return Chart(
        id=f"forest-{response.id}-{response.stat}".replace("_", "-"),
        title=response.label,
        reading=f"Each effect with its 95 % interval; the dashed line is no effect, "
        f"{better[response.better]}.",
        x=Axis("Factor" if ratio else "Difference", unit, log=ratio),
        panels=(
            Panel(
                Axis("Effect", categories=tuple(_category(one) for one in effects)),
                series,
                (Guide("x", 1.0 if ratio else 0.0, ""),),
            ),
        ),
        note="Nothing here decides: the notes say why." if response.too_little else "",
        width="half",
    )


def _intervals(
    name: str,
    role: str,
    effects: Sequence[AblationEffect],
    response: AblationResponse,
    factor: float,
) -> Series:
    mine = [(at, one) for at, one in enumerate(effects) if _role(one) == role]
    return Series(
        name,
        role,
        "interval",
        x=tuple(factor * one.value for _, one in mine),
        y=tuple(float(at) for at, _ in mine),
        labels=tuple(
            f"{_category(one)}: "
            f"{effect_text(one.value, one.low, one.high, response.scale, response.unit)}"
            for _, one in mine
        ),
        low=tuple(factor * (one.low or 0.0) for _, one in mine),
        high=tuple(factor * (one.high or 0.0) for _, one in mine),
    )


def _role(effect: AblationEffect) -> str:
    if not effect.significant:
        return "effect_unsure"
    return "effect_main" if effect.is_main else "effect_interaction"


def _category(effect: AblationEffect) -> str:
    """The levels alone say which axis, unless they are numbers or words that many axes have."""
    if effect.is_main:
        return effect.text
    return " × ".join(change.setting for change in effect.changes)
