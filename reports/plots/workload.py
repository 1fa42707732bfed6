"""What a workload will send, as one figure: its rate over time and its lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..palette import ROLES, SURFACES, TEXT
from ..ticks import log_ticks, tick_text
from .paper import on_paper


@on_paper()
def save_workload_plot(
    path: Path,
    name: str,
    bin_s: float,
    rates_per_s: Sequence[float],
    input_tokens: Sequence[int],
    output_tokens: Sequence[int],
    arriving: str = "requests",
) -> None:
    """Draw requests, or sessions (`arriving`), a second over time, left out where there are no due
    times, and the share of requests up to each length. The ending of `path` names the format; the
    same data gives the same file. Raises OSError."""
    figure = Figure(figsize=(8.0, 5.0 if rates_per_s else 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor(SURFACES["ground"].light)
    grid = figure.subplots(2 if rates_per_s else 1, 1, squeeze=False)[:, 0]
    if rates_per_s:
        _draw_rates(grid[0], bin_s, rates_per_s, arriving)
    _draw_lengths(grid[-1], {"input": input_tokens, "output": output_tokens})
    for axes in grid:
        axes.set_facecolor(SURFACES["ground"].light)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(name, x=0.01, ha="left", fontsize=11, color=TEXT["ink"].light)
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    figure.savefig(path, dpi=160, metadata=metadata)


def _draw_rates(axes: Axes, bin_s: float, rates_per_s: Sequence[float], arriving: str) -> None:
    edges_s = np.arange(len(rates_per_s) + 1) * bin_s
    axes.stairs(rates_per_s, edges_s, fill=True, color=ROLES["running"].light)
    axes.set_xlim(0, float(edges_s[-1]))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("due (s)")
    axes.set_ylabel(f"{arriving} a second")


def _draw_lengths(axes: Axes, sides: dict[str, Sequence[int]]) -> None:
    for (side, tokens), role, dash in zip(
        sides.items(), ("prefill", "decode"), ("-", "--"), strict=True
    ):
        lengths = np.sort(np.asarray(tokens))
        share = 100 * np.arange(1, len(lengths) + 1) / len(lengths)
        colour = ROLES[role].light
        axes.plot(lengths, share, dash, color=colour, label=side, drawstyle="steps-post")
    axes.set_xscale("log")
    # matplotlib's own names of a log axis are formulas, which `on_paper` writes as they are.
    ticks = log_ticks(axes.dataLim.intervalx)
    axes.set_xticks(ticks, [tick_text(one) for one in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel("tokens (log scale)")
    axes.set_ylabel("share at or below (%)")
    axes.legend(frameon=False)
