"""A gate's verdicts as annotations of a GitHub workflow run, and its step summary.

Format: "Workflow commands for GitHub Actions" in GitHub's documentation.
"""

from __future__ import annotations

from .text import one_line
from .verdicts import INVALID, Verdicts

_MOST = 10  # annotations of a kind that GitHub shows of one step


def to_annotations(verdicts: Verdicts, file: str = "") -> str:
    """A line for each row that did not pass: errors for what fails, warnings for what is undecided.

    file: what they are attached to, relative to the repository.
    """
    kind = "undecided" if verdicts.undecided else "invalid"
    found = [
        _command("error", f"{verdicts.title}: {kind}", reason, file) for reason in verdicts.invalid
    ]
    for row in verdicts.rows:
        if row.verdict in ("passed", "improved"):
            continue
        level = "error" if row.verdict == "regressed" else "warning"
        said = row.change + (f" ({row.note})" if row.note else "")
        found.append(_command(level, f"{row.verdict}: {row.name}", said, file))
    if len(found) > _MOST:
        more = f"{len(found) - _MOST + 1} more rows did not pass: see the step's log"
        level = "error" if verdicts.exit_code in (1, INVALID) else "warning"
        found = [*found[: _MOST - 1], _command(level, verdicts.title, more, file)]
    return "".join(line + "\n" for line in found)


def _command(level: str, title: str, message: str, file: str) -> str:
    properties = {"title": one_line(title), **({"file": file} if file else {})}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {said}::{_data(one_line(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
