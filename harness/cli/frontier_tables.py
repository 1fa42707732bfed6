"""A frontier on a terminal: its methods, its claims, where it turns."""

from __future__ import annotations

from ...reports.claims_model import VERDICTS
from ...reports.format import number, percent, quantity
from ...reports.frontier_model import Frontier, FrontierMethod
from ...reports.frontier_report import frontier_report
from .console import STYLES, TerminalConsole, foreign, numbers


def print_frontier(frontier: Frontier) -> None:
    """A row a method; then the sentences that a report begins with."""
    console = TerminalConsole()
    columns = ("tok/s", "", "weights", "", "KL", "same token", "perplexity", "")
    table = numbers("method", *columns, "frontier", words=("frontier",))
    for one in frontier.methods:
        table.add_row(*map(foreign, _row(one)))
    console.print(table)
    console.print(f"[bold]{foreign(frontier_report(frontier).verdict)}[/]")
    if frontier.steps is not None:
        points = frontier.steps.turning_points
        for turning in (one for one in points if one.against == frontier.baseline):
            console.print(foreign(turning.sentence))
    for claim in frontier.claims:
        word, tone = VERDICTS[claim.verdict]
        console.print(
            f"“{foreign(claim.named)}”: [{STYLES[tone]}]{word}[/]. {foreign(claim.evidence)}"
        )
    for note in frontier.notes:
        console.print(f"[yellow]note[/] {foreign(note)}")


def _row(one: FrontierMethod) -> tuple[str, ...]:
    ratios = one.ratios or {}

    def ratio(name: str) -> str:
        return f"{ratios[name]:.2f}×" if name in ratios else ""

    return (
        one.name + (" (emulated)" if one.emulated else ""),
        number(one.output_tokens_per_s),
        ratio("output_tokens_per_s"),
        quantity(one.weight_bytes, "bytes"),
        ratio("weight_bytes"),
        number(one.text_kl_mean),
        percent(one.text_top1_agreement),
        number(one.perplexity),
        ratio("perplexity"),
        _place(one),
    )


def _place(one: FrontierMethod) -> str:
    if one.on_frontier:
        return "on it"
    if one.dominated_by:
        return f"dominated by {', '.join(one.dominated_by)}"
    return one.reason or f"not decided beside {', '.join(one.undecided_by)}"
