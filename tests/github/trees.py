"""Copies of this tree as a repository with a base commit, and a change on top of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .runner import ROOT

_COPIED = ("engines", "harness", "kernels", "reports", "workloads", ".github")

# What a change may do wrong: a file, what stands in it, what stands there instead.
Change = tuple[str, str, str]
ONE_REQUEST_FEWER: Change = (
    "engines/step.py",
    "limits.max_num_seqs - seats_taken)",
    "limits.max_num_seqs - seats_taken - 1)",
)


def slowdown(share: float) -> Change:
    """Every step of the engine takes so much longer on the wall clock; schedules stay."""
    return (
        "engines/core.py",
        "        result, error = self._execute(plan)\n",
        "        from time import perf_counter\n\n"
        "        began_s = perf_counter()\n"
        "        result, error = self._execute(plan)\n"
        f"        until_s = began_s + {1 + share} * (perf_counter() - began_s)\n"
        "        while perf_counter() < until_s:\n"
        "            pass\n",
    )


def repository(folder: Path, *changes: Change) -> tuple[str, str]:
    """Make one in `folder`. Returns the commits of base and head; without changes they are equal
    but for a line in a file that nobody reads."""
    folder.mkdir()
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    _git(folder, "init", "--quiet")
    base = _commit(folder, "base")
    (folder / "notes.txt").write_text("a change\n")
    for name, before, after in changes:
        plant(folder, (name, before, after))
    return base, _commit(folder, "head")


def plant(folder: Path, change: Change) -> None:
    """Raises ValueError if what is to be changed is not there exactly once."""
    name, before, after = change
    text = (folder / name).read_text()
    if text.count(before) != 1:
        raise ValueError(f"{name} holds {before!r} {text.count(before)} times")
    (folder / name).write_text(text.replace(before, after))


def _commit(folder: Path, message: str) -> str:
    _git(folder, "add", "--all", "--force")
    _git(folder, "commit", "--quiet", "--message", message)
    return _git(folder, "rev-parse", "HEAD").strip()


def _git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
    # Somebody's own settings (signing, hooks) are not what is tested.
    done = subprocess.run(
        ["git", *who, "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
