"""A frontier's tables: every method's figures, claims, turning points, steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .claims_model import VERDICTS
from .comparison_tables import metric_table, ratio_cell, ratio_text
from .format import ABSENT, batch_size, listed, number, percent, quantity, scale_of, seconds
from .frontier_model import (
    KL,
    PERPLEXITY,
    THROUGHPUT,
    Crossing,
    Frontier,
    FrontierMethod,
    FrontierSteps,
)
from .model import Cell, Table
from .tables import table


def methods_table(frontier: Frontier) -> Table:
    """Every method with its figures; ratios to the baseline in brackets."""
    columns = (
        *("Method", "Frontier", "Tokens/s", "Weights", "TPOT", "KL on the text"),
        *("Same next token", "Perplexity"),
    )
    labels = "; ".join(f"{one.name}: {one.label}" for one in frontier.methods)
    return table(
        "methods",
        "Every method",
        columns,
        [_method_row(one) for one in frontier.methods],
        words=("Frontier",),
        note=f"{labels}. In brackets the ratio to {frontier.baseline}. Tokens/s: of output"
        f"{_over(frontier)}. Weights: what a decode step reads of them. TPOT: mean. KL: nats a "
        "token to the unquantised model, mean; “same next token”: how often both would "
        "choose the same."
        + (f" Quality is of {frontier.quality_of}." if frontier.quality_of else ""),
    )


def _over(frontier: Frontier) -> str:
    """What rates are over, where two runs say it."""
    return f", over the {frontier.comparison.rates_over}" if frontier.comparison else ""


def _method_row(one: FrontierMethod) -> tuple[str | Cell, ...]:
    ratios = one.ratios or {}

    def beside(text: str, name: str) -> str:
        if name not in ratios or text == ABSENT:
            return text
        return f"{text} ({ratio_text(ratios[name])}×)"

    return (
        one.name + (" (emulated)" if one.emulated else ""),
        _place(one),
        beside(number(one.output_tokens_per_s), "output_tokens_per_s"),
        beside(quantity(one.weight_bytes, "bytes"), "weight_bytes"),
        beside(seconds(one.tpot_mean_s), "tpot_mean_s"),
        number(one.text_kl_mean),
        percent(one.text_top1_agreement),
        beside(number(one.perplexity), "perplexity"),
    )


def _place(one: FrontierMethod) -> Cell:
    if not one.counts:
        return Cell(one.reason, "bad")
    if one.dominated_by:
        return Cell(f"dominated by {listed(one.dominated_by)}", "quiet")
    if one.undecided_by:
        why = ": its speed is emulated" if one.emulated else ""
        return Cell(f"? not decided beside {listed(one.undecided_by)}{why}", "caution")
    return Cell("✓ on it", "good")


def pairs_table(frontier: Frontier) -> Table | None:
    """Every two methods that count, by what a frontier is drawn from; None below two."""
    rows = [
        (
            f"{pair.second} to {pair.first}",
            *(ratio_cell(pair.ratios.get(name)) for name in (KL, PERPLEXITY, THROUGHPUT)),
        )
        for pair in frontier.pairs
    ]
    if not rows:
        return None
    titles = ("KL on the text", "Perplexity", "Tokens/s")
    return table(
        "pairs",
        "Every two methods",
        ("Ratio", *titles),
        rows,
        words=titles,
        note="In brackets, the interval the ratio lies in, at 95 % for all together"
        f"{_alone(frontier)}: of quality by "
        "resampling stretches of the text, which both read, of tokens/s parts of the window. A "
        "method dominates another if nothing here and in the weights is worse or inconclusive, and "
        "something is better; tokens/s of an emulated method decide nothing. To the unquantised "
        "model KL has no ratio: its own is 0.",
        folded=True,
    )


def _alone(frontier: Frontier) -> str:
    ratios = (ratio for pair in frontier.pairs for ratio in pair.ratios.values())
    return (
        " but those marked alone, which no sentence is about"
        if any(one.alone for one in ratios)
        else ""
    )


def claims_table(frontier: Frontier) -> Table | None:
    if not frontier.claims:
        return None
    return table(
        "claims",
        "What people say, and what was measured",
        ("Claim", "Here", "What was measured"),
        [(one.named, Cell(*VERDICTS[one.verdict]), one.evidence) for one in frontier.claims],
        words=("Here", "What was measured"),
        note="True of this model, machine and load; another may say otherwise.",
    )


def turning_table(steps: FrontierSteps) -> Table | None:
    if not steps.turning_points:
        return None
    return table(
        "turning-points",
        "Where 4 bits stop winning",
        ("4 bits against", "Measured", "Floor", "At rates reached", "Why"),
        [
            (
                f"{one.method} against {one.against}",
                crossing_text(one.measured),
                crossing_text(one.floor),
                crossing_text(one.reached),
                one.why,
            )
            for one in steps.turning_points
        ],
        words=("Measured", "Floor", "At rates reached", "Why"),
        note="Batch sizes up to which 4 bits are faster by more than 2 %. Measured: interpolated "
        "between the sizes that were measured. Floor: by "
        "the roofline, bytes over bandwidth against operations over rate, at the machine's rates; "
        "operations at the rate of a product in the method's own arithmetic. At rates reached: the "
        "same at the bandwidth and the rate of operations that each method reached itself.",
    )


def crossing_text(crossing: Crossing | None) -> str:
    """A turning point in a cell: "23", "more than 64", "never wins"."""
    if crossing is None:
        return ABSENT
    if crossing.kind == "never":
        return "never wins"
    if crossing.kind == "beyond":
        return f"more than {batch_size(crossing.batch)}"
    return batch_size(crossing.batch)


def steps_table(frontier: Frontier, steps: FrontierSteps) -> Table:
    """Every case: a step's time, how many times as fast as the baseline, and of its floor."""
    base = next((one for one in steps.lines if one.method == frontier.baseline), steps.lines[0])
    scale = scale_of("s", [one for line in steps.lines for one in line.decode_s])
    rows: list[tuple[str | Cell, ...]] = [
        (
            f"decode × {batch}",
            *(
                _step(
                    line.decode_s[at],
                    line.speed_ups[at] / base.speed_ups[at],
                    line.floor_s[at],
                    scale.number,
                )
                for line in steps.lines
            ),
        )
        for at, batch in enumerate(steps.batches)
    ]
    if base.prefill_s is not None:
        rows.append(
            (
                f"prefill of {steps.prompt_tokens}",
                *(
                    _step(line.prefill_s, line.prefill_speed_up, None, scale.number)
                    for line in steps.lines
                ),
            )
        )
    rows.append(
        (
            "bandwidth beside it, GB/s",
            *(
                " / ".join(number(one / 1e9) for one in line.bandwidths_bytes_per_s)
                for line in steps.lines
            ),
        )
    )
    return table(
        "steps",
        f"Steps by batch size, {scale.unit}",
        ("Step", *(line.method for line in steps.lines)),
        rows,
        note=f"Times are of the shortest step. In brackets, times as fast as {base.method}, of "
        "steps that both took in turns; then the share of the floor that was reached. Every method "
        "was measured twice, in the one order and then in the other, and the machine's bandwidth "
        "beside each.",
    )


def _step(
    value: float | None,
    speed_up: float | None,
    floor: float | None,
    shown: Callable[[float], str],
) -> str:
    if value is None or speed_up is None:
        return ABSENT
    text = f"{shown(value)} ({ratio_text(speed_up)}×)"
    return text if floor is None else f"{text}, {percent(floor / value)}"


def tasks_table(frontier: Frontier) -> Table | None:
    """Task scores, where they were asked for."""
    rows = [
        (one.name, task, metric, number(value), ABSENT if error is None else f"± {number(error)}")
        for one in frontier.methods
        for task, metric, value, error in one.task_scores
    ]
    if not rows:
        return None
    return table(
        "tasks",
        "Task scores",
        ("Method", "Task", "Metric", "Score", "Standard error"),
        rows,
        words=("Task", "Metric"),
        note="By EleutherAI's lm-eval, with the engine as its model.",
    )


def figures_table(frontier: Frontier) -> Table | None:
    """Every figure of every method, with its ratio to the baseline and a verdict."""
    if frontier.comparison is None:
        return None
    return replace(metric_table(frontier.comparison), id="every-figure")
