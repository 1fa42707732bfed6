"""Reports in GitHub's Markdown, for a pull request: the first screen and tables, no charts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import quote

from .ablation_model import Ablation
from .ablation_report import ablation_report
from .capacity_model import Capacities
from .capacity_report import capacity_report
from .claims_model import Claims
from .claims_report import claims_report
from .comparison_report import comparison_report
from .frontier_model import Frontier
from .frontier_report import frontier_report
from .history_model import History
from .history_report import history_report
from .model import Cell, Comparison, KeyFigure, Report, Run, Table
from .repeats_model import RepeatsTable
from .repeats_report import repeats_report
from .run_report import run_report
from .sweep_model import SweepTable
from .sweep_report import sweep_report

SHOWN = (
    *("methods", "claims", "turning-points", "steps", "tasks", "together", "repeats"),
    *("explained", "comparison", "pairs", "config-differences", "metrics"),
    *("latency-parts", "rates", "machine-use", "kv-states"),
    *(
        "quality",
        "checks",
        "errors",
        "saturation",
        "cells-of-sweep",
        "sentences",
        "effects",
        "interactions",
        "left-out",
    ),
)
NUMBERED = ("steps-", "evidence-")  # one a series, one a claim
FOLDED = (
    *("shares", "mechanisms", "cells", "every-figure"),
    *(
        "counters",
        "memory",
        "client",
        "server-own-summary",
        "slowest",
        "slowest-ttft",
        "slowest-gaps",
        "slowest-steps",
        "not-served",
    ),
    *("config", "runs", "environment", "commands", "alone-runs"),
)
_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~$"} | {"\n": " "})


def render_run_markdown(run: Run) -> str:
    """One run in Markdown."""
    return render_markdown(run_report(run))


def render_comparison_markdown(runs: Sequence[Run], comparison: Comparison) -> str:
    """Runs side by side in Markdown. runs: in the order of `comparison.runs`."""
    return render_markdown(comparison_report(runs, comparison))


def render_capacities_markdown(told: Capacities) -> str:
    """The largest rates that hold an SLO, in Markdown."""
    return render_markdown(capacity_report(told))


def render_claims_markdown(claims: Claims) -> str:
    """What people say, in Markdown."""
    return render_markdown(claims_report(claims))


def render_ablation_markdown(ablation: Ablation) -> str:
    """A factorial in Markdown."""
    return render_markdown(ablation_report(ablation))


def render_frontier_markdown(frontier: Frontier) -> str:
    """Methods of quantisation side by side in Markdown."""
    return render_markdown(frontier_report(frontier))


def render_history_markdown(history: History) -> str:
    """Quantities over time in Markdown."""
    return render_markdown(history_report(history))


def render_repeats_markdown(repeats: RepeatsTable) -> str:
    """A repeated run in Markdown."""
    return render_markdown(repeats_report(repeats))


def render_sweep_markdown(sweep: SweepTable) -> str:
    """One command at many points, in Markdown."""
    return render_markdown(sweep_report(sweep))


def render_markdown(report: Report) -> str:
    """The answer first, then tables; long ones are folded."""
    tables = {part.id: part for part in report.parts if isinstance(part, Table)}
    blocks = [
        f"## {escape(report.title)}",
        f"**{report.badge.symbol} {escape(report.badge.word)}** · {escape(report.subtitle)}",
        *([f"> [!IMPORTANT]\n> {escape(report.premise)}"] if report.premise else []),
        *_alarm(report),
        f"**{escape(report.verdict)}**",
        *([escape(" ".join(report.statements))] if report.statements else []),
        *([_figures(report.figures)] if report.figures else []),
        *(_section(part) for part in report.overview if isinstance(part, Table)),
        *_notes(report),
        *(_section(tables[name]) for name in SHOWN if name in tables),
        *(_section(one) for name, one in tables.items() if name.startswith(NUMBERED)),
        *(_folded(tables[name]) for name in FOLDED if name in tables),
        f"<sub>{escape(report.footer)}</sub>",
    ]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: also inside a table, on one line."""
    return text.translate(_SPECIAL).replace("&", "&amp;")


def _alarm(report: Report) -> list[str]:
    bad = [note.text for note in report.notes if note.tone == "bad"]
    if not bad:
        return []
    return ["\n".join(["> [!CAUTION]", *(f"> {escape(text)}  " for text in bad)])]


def _notes(report: Report) -> list[str]:
    lines = [f"- {escape(note.text)}" for note in report.notes if note.tone != "bad"]
    return ["\n".join(lines)] if lines else []


def _figures(figures: Sequence[KeyFigure]) -> str:
    rows = [
        [
            escape(text)
            for text in (figure.label, f"{figure.value} {figure.unit}".strip(), figure.detail)
        ]
        for figure in figures
    ]
    return _grid(("", "", ""), ("---", "---:", "---"), rows)


def _section(table: Table) -> str:
    note = f"\n\n<sub>{escape(table.note)}</sub>" if table.note else ""
    return f"### {escape(table.title)}\n\n{_table(table)}{note}"


def _folded(table: Table) -> str:
    title = html.escape(table.title)  # a line that begins with a tag is HTML, not Markdown
    return f"<details><summary>{title}</summary>\n\n{_table(table)}\n\n</details>"


def _table(table: Table) -> str:
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    titles = [column.title for column in table.columns]
    return _grid(titles, rules, [[_cell(cell) for cell in row] for row in table.rows])


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"[{text}]({quote(cell.link)})" if cell.link else text


def _grid(titles: Sequence[str], rules: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """rows: of Markdown."""
    lines = [[escape(title) for title in titles], rules, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
