"""The roofline beside published throughput, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.cost.published import Comparison
from ...reports.format import rounded_percent


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """The tables, as docs/roofline.md holds them."""
    lines: list[str] = []
    for part in comparisons:
        lines += [
            f"**{part.title}:** prefill {part.efficiency.prefill:.2f}, "
            f"decode {part.efficiency.decode:.2f}",
            "",
            "| input / output | running | published tok/s | roofline tok/s | error | |",
            "|---|---|---|---|---|---|",
        ]
        for made in part.predictions:
            row, error = made.row, rounded_percent(made.error, 1, signed=True)
            lines.append(
                f"| {row.input_tokens} / {row.output_tokens} | {made.batch} "
                f"| {row.tokens_per_s:,.0f} | {made.predicted_tokens_per_s:,.0f} "
                f"| {error} | {'fitted' if made.fitted else 'predicted'} |"
            )
        lines.append("")
    return "\n".join(lines)
