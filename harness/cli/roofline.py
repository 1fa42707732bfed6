"""`llmbench roofline`: how the cost model's roofline compares with published throughput."""

from __future__ import annotations


def roofline() -> None:
    """Hold the roofline against TensorRT-LLM's published throughput, as Markdown tables.

    One efficiency factor a phase is fitted on half of the rows; the other half is predicted.
    """
    from ...engines.cost.published import compare_with_published
    from .roofline_tables import comparison_markdown

    print(comparison_markdown(compare_with_published()))
