"""Reports as one HTML file that opens offline."""

from .page import (
    render_ab,
    render_ablation,
    render_capacities,
    render_claims,
    render_comparison,
    render_frontier,
    render_history,
    render_repeats,
    render_run,
    render_sweep,
)

__all__ = [
    "render_ab",
    "render_ablation",
    "render_capacities",
    "render_claims",
    "render_comparison",
    "render_frontier",
    "render_history",
    "render_repeats",
    "render_run",
    "render_sweep",
]
