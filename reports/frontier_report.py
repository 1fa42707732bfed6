"""What is said about methods of quantisation side by side, in reading order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .comparison_tables import ratio_text
from .format import as_sentence, batch_size, listed, number, percent, plural, size
from .frontier_charts import speed_up_chart, trade_off
from .frontier_model import (
    KL,
    THROUGHPUT,
    Crossing,
    Frontier,
    FrontierClaim,
    FrontierMethod,
    TurningPoint,
    between,
)
from .frontier_tables import (
    VERDICTS,
    claims_table,
    crossing_text,
    figures_table,
    methods_table,
    pairs_table,
    steps_table,
    tasks_table,
    turning_table,
)
from .model import Badge, Chart, KeyFigure, Note, Report, Section, Table, present
from .tables import glossary

WHOLE = Badge("Every method measured", "✓", "good")
INCOMPLETE = Badge("Methods left out", "!", "caution")
# Of more methods than this the verdict does not say what each is; of still more no sentence does,
# but tiles and the table below. Of more than so many on the frontier, or off it, it gives a count.
_MOST_TOLD, _MOST_WITH_A_SENTENCE = 3, 5
_MOST_ON_IT, _MOST_OFF_IT = 5, 2
DISTURBED = Badge("Every method measured, with cautions", "!", "caution")


def frontier_report(frontier: Frontier) -> Report:
    """Everything a report says about a frontier."""
    return Report(
        title=f"Quality, speed and memory: {listed([one.name for one in frontier.methods])}",
        subtitle=" · ".join(frontier.setting),
        badge=_badge(frontier),
        verdict=_verdict(frontier),
        statements=tuple(_statements(frontier)),
        figures=_key_figures(frontier),
        overview=present(methods_table(frontier), trade_off(frontier)),
        notes=tuple(
            Note(as_sentence(text, keeps=_is_method), "caution") for text in frontier.notes
        ),
        sections=tuple(section for section in _sections(frontier) if section.parts),
        footer=frontier.command,
    )


def _badge(frontier: Frontier) -> Badge:
    if len(frontier.counted) < len(frontier.methods):
        return INCOMPLETE
    doubtful = any(one.disturbed or one.undecided_by for one in frontier.methods)
    return DISTURBED if doubtful else WHOLE


def _verdict(frontier: Frontier) -> str:
    """Who is a choice and who is none, of whom by whom is in the table; where everyone is one, what
    each is chosen for."""
    counted = frontier.counted
    if not counted:
        return "No method has a run that counts."
    if not all(one.on_frontier for one in counted):
        parts = (_on_it(counted), *_dominated(counted), *_undecided(counted))
        return f"{'; '.join(parts)}."
    if len(counted) == 1:
        return f"Only {counted[0].name} has a run that counts."
    none_dominates = "No method dominates another in quality, speed and memory"
    if _tells_each(frontier):
        return f"{'; '.join((none_dominates, *_sentences(frontier)))}."
    return f"{none_dominates}."


def _on_it(counted: Sequence[FrontierMethod]) -> str:
    on = [one.name for one in counted if one.on_frontier]
    if not on:
        return "No method is on the frontier of quality, speed and memory beyond doubt"
    are = "is" if len(on) == 1 else "are"
    names = f": {listed(on)}" if len(on) <= _MOST_ON_IT else ""
    return (
        f"{len(on)} of {plural(len(counted), 'method')} {are} on the frontier of quality, speed "
        f"and memory{names}"
    )


def _dominated(counted: Sequence[FrontierMethod]) -> Iterable[str]:
    beaten = [one for one in counted if one.dominated_by]
    if len(beaten) == 1 and len(beaten[0].dominated_by) <= _MOST_OFF_IT:
        yield f"{beaten[0].name} is dominated by {listed(beaten[0].dominated_by)}"
    elif beaten:
        yield f"{_few(beaten)} {'is' if len(beaten) == 1 else 'are'} dominated"


def _undecided(counted: Sequence[FrontierMethod]) -> Iterable[str]:
    """Whom the runs neither put on the frontier nor take off it."""
    open_to = [one for one in counted if one.undecided_by and not one.dominated_by]
    if open_to:
        yield f"not decided for {_few(open_to)}"


def _few(methods: Sequence[FrontierMethod]) -> str:
    if len(methods) > _MOST_OFF_IT:
        return str(len(methods))
    return listed([one.name for one in methods])


def _tells_each(frontier: Frontier) -> bool:
    """Whether the verdict is what each method is beside the baseline."""
    counted = frontier.counted
    return 1 < len(counted) <= _MOST_TOLD and all(one.on_frontier for one in counted)


def _statements(frontier: Frontier) -> Iterable[str]:
    few = len(frontier.counted) <= _MOST_WITH_A_SENTENCE
    if few and not _tells_each(frontier):
        yield from (f"{one}." for one in _sentences(frontier))
    if few and frontier.steps is not None:
        # Those against eight bits stand in the table.
        points = frontier.steps.turning_points
        yield from (one.sentence for one in points if one.against == frontier.baseline)
    for claim in dict.fromkeys(one.claim for one in frontier.claims):
        yield _verdicts([one for one in frontier.claims if one.claim == claim])


def _verdicts(claims: Sequence[FrontierClaim]) -> str:
    """On one claim, of each method that it was held against."""
    words = {one: VERDICTS[one.verdict][0].partition(" ")[2] for one in claims}
    parts: list[str] = []
    for word in dict.fromkeys(words.values()):
        methods = [one.method for one in claims if words[one] == word and one.method]
        here = "" if parts else " here"
        parts.append(f"{word}{here} for {listed(methods)}" if methods else f"{word}{here}")
    return f"“{claims[0].claim}”: {', '.join(parts)}."


def _sentences(frontier: Frontier) -> list[str]:
    """What each method is beside the baseline."""
    base = frontier.baseline
    return [_beside(one, base) for one in frontier.counted if one.name != base]


def _beside(one: FrontierMethod, baseline: str) -> str:
    ratios = one.ratios or {}
    parts: list[str] = []
    if "output_tokens_per_s" in ratios:
        found = one.throughput_ratio
        unsure = " (not decided)" if found and found.verdict == "inconclusive" else ""
        parts.append(f"{ratio_text(ratios['output_tokens_per_s'])}× the output tokens/s{unsure}")
    if "weight_bytes" in ratios:
        parts.append(f"{ratio_text(ratios['weight_bytes'])}× the weight bytes")
    if one.text_kl_mean is not None and one.text_top1_agreement is not None:
        parts.append(
            f"KL {number(one.text_kl_mean)} nats with the same next token for "
            f"{percent(one.text_top1_agreement)}"
        )
    if "perplexity" in ratios:
        change, found = ratios["perplexity"] - 1, one.perplexity_ratio
        unsure = " (not decided)" if found is None or found.verdict == "inconclusive" else ""
        direction = "higher" if change >= 0 else "lower"
        parts.append(f"perplexity {percent(abs(change))} {direction}{unsure}")
    emulated = " (emulated)" if one.emulated else ""
    return f"{one.name}{emulated} against {baseline}: {', '.join(parts)}"


def _key_figures(frontier: Frontier) -> tuple[KeyFigure, ...]:
    others = [one for one in frontier.counted if one.name != frontier.baseline]
    figures: list[KeyFigure] = []
    if fast := [one for one in frontier.counted if (one.ratios or {}).get("output_tokens_per_s")]:
        best = max(fast, key=lambda one: one.output_tokens_per_s or 0.0)
        ratio = (best.ratios or {})["output_tokens_per_s"]
        detail = f"{best.name}, {number(best.output_tokens_per_s)} tokens/s"
        detail += _beside_it(frontier, best, fast, THROUGHPUT)
        figures.append(KeyFigure("Fastest", f"{ratio_text(ratio)}×", "", detail))
    if close := [one for one in others if one.text_kl_mean is not None]:
        best = min(close, key=lambda one: one.text_kl_mean or 0.0)
        detail = f"{best.name}, same next token {percent(best.text_top1_agreement)}"
        detail += _beside_it(frontier, best, close, KL)
        figures.append(
            KeyFigure("Closest to unquantised", number(best.text_kl_mean), "nats", detail)
        )
    if small := [one for one in frontier.counted if (one.ratios or {}).get("weight_bytes")]:
        best = min(small, key=lambda one: one.weight_bytes or 0.0)
        ratio = (best.ratios or {})["weight_bytes"]
        detail = f"{best.name}, {size(best.weight_bytes)}"
        figures.append(KeyFigure("Smallest weights", f"{ratio_text(ratio)}×", "", detail))
    if frontier.steps is not None:
        figures += _turning_figures(frontier.steps.turning_points, frontier.baseline)
    return tuple(figures)


def _beside_it(
    frontier: Frontier, best: FrontierMethod, methods: Sequence[FrontierMethod], quantity: str
) -> str:
    """Whom the best of its number is not known to be better than: "; not told apart from awq"."""
    ratios = {one.name: between(frontier.pairs, best.name, one.name) for one in methods}
    found = {name: each[quantity] for name, each in ratios.items() if quantity in each}
    alike = [name for name, ratio in found.items() if ratio.verdict != "better"]
    return f"; not told apart from {listed(alike)}" if alike else ""


def _turning_figures(points: Sequence[TurningPoint], baseline: str) -> list[KeyFigure]:
    """Against the baseline, where passes agree; methods that turn alike have one."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in points:
        if one.against == baseline and one.steady:
            but = f"not at {listed([str(size) for size in one.measured.lost_at])}; "
            roofline = f"by the roofline {crossing_text(one.floor)}"
            said = _short(one.measured), (but if one.measured.lost_at else "") + roofline
            found.setdefault(said, []).append(one.method)
    return [
        KeyFigure(
            f"{listed(methods)} {'wins' if len(methods) == 1 else 'win'} up to batch",
            value,
            "",
            predicted,
        )
        for (value, predicted), methods in found.items()
    ]


def _short(crossing: Crossing) -> str:
    """A turning point as a key figure."""
    return (
        f"> {batch_size(crossing.batch)}" if crossing.kind == "beyond" else crossing_text(crossing)
    )


def _sections(frontier: Frontier) -> tuple[Section, ...]:
    steps = frontier.steps
    turning: list[Chart | Table | None] = []
    if steps is not None:
        turning = [
            speed_up_chart(frontier, steps),
            turning_table(steps),
            steps_table(frontier, steps),
        ]
    return (
        Section("frontier", "Frontier", present(pairs_table(frontier))),
        Section("claims", "Claims", present(claims_table(frontier))),
        Section("turning", "Where it turns", present(*turning)),
        Section("tasks", "Tasks", present(tasks_table(frontier))),
        Section("every-figure", "Every figure", present(figures_table(frontier))),
        Section("glossary", "Glossary", (glossary(),)),
    )


def _is_method(word: str) -> bool:
    return word.endswith((":", ","))
