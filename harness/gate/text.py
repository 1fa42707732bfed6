"""A gate's verdicts for a terminal and a build log."""

from __future__ import annotations

import re

from .verdicts import Verdicts

# Some build servers read commands from the log: `::error::…` at the start of a line, `##[…]`
# anywhere. Escape sequences could hide or fake lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# More rows that passed than these are only counted: a log is read for what did not.
_SHOWN = 10


def one_line(text: str) -> str:
    """Foreign text without line breaks, escape sequences or commands of a build server."""
    text = _CONTROL.sub(" ", text).strip()
    return text.replace("##[", "## [").replace("::", ": :")


def to_text(verdicts: Verdicts) -> str:
    """One line a row; many that passed are counted."""
    lines = [f"{one_line(verdicts.title)}: {verdicts.headline}"]
    lines.extend(f"  {one_line(line)}" for line in (*verdicts.about, *verdicts.invalid))
    width = max((len(row.verdict) for row in verdicts.rows), default=0)
    passed = sum(row.verdict == "passed" for row in verdicts.rows)
    for row in verdicts.rows:
        if passed > _SHOWN and row.verdict == "passed":
            continue
        note = f" ({one_line(row.note)})" if row.note else ""
        said = f"{one_line(row.name)}: {one_line(row.change)}{note}"
        lines.append(f"  {row.verdict:<{width}}  {said}")
    if passed > _SHOWN:
        lines.append(f"  {'passed':<{width}}  {passed} of {len(verdicts.rows)} rows")
    lines.extend(f"  note: {one_line(warning)}" for warning in verdicts.warnings)
    return "\n".join(lines) + "\n"
