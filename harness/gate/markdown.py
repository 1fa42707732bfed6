"""A gate's verdicts as a pull-request comment, in GitHub's Markdown."""

from __future__ import annotations

import re

from .text import one_line
from .verdicts import INCONCLUSIVE, INVALID, PASSED, REGRESSED, Verdict, VerdictRow, Verdicts

_SYMBOLS = {PASSED: "✅", REGRESSED: "❌", INVALID: "⛔", INCONCLUSIVE: "❔"}
_ROW_SYMBOLS: dict[Verdict, str] = {
    "passed": "✅",
    "improved": "🟢",
    "regressed": "❌",
    "inconclusive": "❔",
}
# Rows beyond these that passed are folded away: a comment is read for what did not.
_SHOWN = 10


def to_markdown(verdicts: Verdicts) -> str:
    """The headline, a table, what to know. Foreign text stands in code spans, where it is text."""
    title = f"{_SYMBOLS[verdicts.exit_code]} {code(verdicts.title)}: {verdicts.headline}"
    blocks = [f"**{title}**"]
    if said := [f"- {code(line)}" for line in (*verdicts.about, *verdicts.invalid)]:
        blocks.append("\n".join(said))
    passed = [_row(row) for row in verdicts.rows if row.verdict == "passed"]
    others = [_row(row) for row in verdicts.rows if row.verdict != "passed"]
    if len(passed) <= _SHOWN:
        others, passed = [*others, *passed], []
    if others:
        blocks.append(_table(others))
    if passed:
        summary = f"<details><summary>{len(passed)} that passed</summary>"
        blocks.append(f"{summary}\n\n{_table(passed)}\n\n</details>")
    if verdicts.warnings:
        blocks.append("\n".join(f"- {code(warning)}" for warning in verdicts.warnings))
    return "\n\n".join(blocks) + "\n"


def code(text: str) -> str:
    """A code span that holds the text as it is: fenced by more backticks than are in it. Within one
    neither HTML nor mentions nor links are read."""
    text = one_line(text)
    if not text:
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def _table(rows: list[str]) -> str:
    return "\n".join(["| | what | change | note |", "|---|---|---|---|", *rows])


def _row(row: VerdictRow) -> str:
    verdict = f"{_ROW_SYMBOLS[row.verdict]} {row.verdict}"
    return f"| {' | '.join((verdict, *map(_cell, (row.name, row.change, row.note))))} |"


def _cell(text: str) -> str:
    """A code span in a table, where a bar would end it but for the stroke before it, which only
    there is not shown."""
    return code(text).replace("|", "\\|")
