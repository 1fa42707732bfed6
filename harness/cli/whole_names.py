"""The help names every option whole: typer's tables would cut the long ones of a narrow terminal,
and who cannot read an option cannot type it."""

from __future__ import annotations

import os
import sys

from rich.text import Text
from typer import rich_utils

# Every name stands on one line, for `grep` to find it in the log of a build.
_WITHOUT_TERMINAL = 100


class _Folded(rich_utils.OptionHighlighter):
    def __call__(self, text: str | Text) -> Text:
        shown = super().__call__(text)
        shown.overflow = "fold"
        return shown


class _FoldedNegative(rich_utils.NegativeOptionHighlighter, _Folded):
    """The same of `--no-…`, which has a colour of its own."""


def name_options_whole() -> None:
    """Break names that a column has no room for, and take room where no terminal limits it."""
    rich_utils.highlighter = _Folded()
    rich_utils.negative_highlighter = _FoldedNegative()
    rich_utils.MAX_WIDTH = _width()


def _width() -> int | None:
    """None: the terminal's, or what COLUMNS says. TERMINAL_WIDTH is typer's own."""
    if (asked := os.environ.get("TERMINAL_WIDTH", "")).isdigit():
        return int(asked)
    # Beside a pipe to a pager there is a terminal, and it has a width.
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if "COLUMNS" in os.environ or any(one is not None and one.isatty() for one in streams):
        return None
    return _WITHOUT_TERMINAL
