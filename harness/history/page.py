"""Trends as a page that works offline: a plot of each, with a table behind it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ...reports.palette import TEXT
from .text import describe_step, shown, unit
from .trends import History, Trend

if TYPE_CHECKING:
    import plotly.graph_objects as go

_INK = {True: TEXT["bad"].light, False: TEXT["good"].light, None: TEXT["quiet"].light}
_STYLE = (
    f"body{{font:16px/1.5 system-ui,sans-serif;color:{TEXT['ink'].light};max-width:70rem;"
    "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse}"
    "td,th{padding:.1rem .8rem;text-align:left;border-bottom:1px solid #d9dde3}"
    "@media print{details{display:block}}"
)


def render_page(history: History) -> str:
    """One HTML file; plotly's script, as its package ships it, is inlined once."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>llmbench history</title>",
        f"<style>{_STYLE}</style><h1>History</h1>",
    ]
    for place, trend in enumerate(history.trends):
        parts.append(f"<h2>{escape(trend.quantity.name)}: {escape(trend.kind)}</h2>")
        steps = [escape(describe_step(trend, step)) for step in trend.steps]
        parts.append("".join(f"<p>{step}</p>" for step in steps) or "<p>No step.</p>")
        parts.append(_figure(trend).to_html(full_html=False, include_plotlyjs=place == 0))
        parts.append(_table(trend))
    if history.left_out:
        rows = "".join(f"<li>{escape(line)}</li>" for line in history.left_out)
        parts.append(f"<h2>Left out</h2><ul>{rows}</ul>")
    return "\n".join(parts) + "\n"


def _figure(trend: Trend) -> go.Figure:
    import plotly.graph_objects as go

    scale = 1e3 if trend.quantity.unit == "s" else 1.0
    # Plotly reads markup in its texts.
    names = [escape(f"{one.run} {one.commit}") for one in trend.points]
    figure = go.Figure(
        go.Scatter(
            x=list(range(len(names))),
            y=[one.value * scale for one in trend.points],
            text=names,
            hovertemplate="%{text}: %{y:.4g}<extra></extra>",
            mode="lines+markers",
            line={"color": TEXT["link"].light},
        )
    )
    for step in trend.steps:
        ink = _INK[trend.worsened(step)]
        figure.add_vline(x=step.at - 0.5, line={"color": ink, "dash": "dash"})
    figure.update_layout(
        template="plotly_white", height=320, margin={"t": 20, "b": 40}, showlegend=False
    )
    figure.update_xaxes(title="run")
    figure.update_yaxes(title=unit(trend), rangemode="tozero")
    return figure


def _table(trend: Trend) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.created_at)}<td>{escape(one.run)}<td>{escape(one.commit)}"
        f"<td>{shown(trend, one.value)}"
        for one in trend.points
    )
    head = f"<tr><th>when<th>run<th>commit<th>{escape(trend.quantity.name)} {unit(trend)}"
    return f"<details><summary>Numbers</summary><table>{head}{rows}</table></details>"
