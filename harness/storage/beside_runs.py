"""Where a report of several runs may go: not among what another command keeps and goes on with."""

from __future__ import annotations

from pathlib import Path

from ..errors import StoreError
from .directories import check_directory
from .store import RESULT_FILE, repeat_directories


def check_reports_directory(directory: Path) -> None:
    """Find out before the work whether its reports may go there. A run's directory, a repeated
    run's, and those of an ablation, a sweep and a finished frontier hold nothing but their own
    files: with another in it, their command would refuse to write there again. A frontier that is
    under way is not told from any directory of runs. Raises StoreError for `out`."""
    check_directory(directory)
    if what := _kept(directory):
        raise StoreError("out", directory, f"holds {what}; expected another directory for reports")


def _kept(directory: Path) -> str:
    """What is there, in words; nothing of a directory that takes other files."""
    if (directory / RESULT_FILE).exists():
        return "a run"
    if repeat_directories(directory):
        return "the repeats of a run"
    if next(directory.glob(f"cells/*/{RESULT_FILE}"), None) is not None:
        return "the cells of an ablation or a sweep"
    return "a frontier" if (directory / "frontier.json").exists() else ""
