"""Exit codes, and how an error becomes one line."""

from __future__ import annotations

import sys
from enum import IntEnum

from .console import TerminalConsole, foreign


class Exit(IntEnum):
    """What a command's exit code means."""

    OK = 0
    REGRESSED = 1
    USAGE = 2  # a setting, a file or a model that cannot work
    INVALID = 3  # the run is not valid, so its numbers prove nothing
    INCONCLUSIVE = 4
    OUT_OF_MEMORY = 5  # the device had no memory left; what was measured is kept
    BUG = 70  # an error of ours, as sysexits.h has it: a crash must not be taken for a verdict
    INTERRUPTED = 130


def say(text: str) -> None:
    """Progress and notes, on standard error: standard output is for results."""
    TerminalConsole(file=sys.stderr, soft_wrap=True).print(text)


def say_text(text: str) -> None:
    """A line that is no markup, whatever it holds."""
    say(foreign(text))


def say_error(error: Exception | str) -> None:
    """One line that names what is wrong."""
    say(f"[bold red]error:[/] {foreign(' '.join(str(error).split()))}")
