"""What stands where a result is to go: the same command replaces it and says so, another one only
when it is told to."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.run import is_typed, refused
from .console import foreign
from .exits import say

if TYPE_CHECKING:
    from ..storage.store import Standing

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace what another command left at --out, once the new result is whole.",
        rich_help_panel="Output",
    ),
]
_FLAGS = ("--json", "--quiet", "-q", "--overwrite")
_PLACES = ("--out", "--figures")
_OR = "expected a new directory; --overwrite replaces this one"


def check_run(directory: Path, command: str, *, overwrite: bool) -> Standing:
    """Find out before a run of `command` whether its result can be written there. Returns what it
    may replace, for what comes while it is under way is another's.

    A run that was cut short is replaced as if it were none. Raises StoreError for `out`: as
    `store.check_out` does, and for the run of another command, its answer that no rate holds, or
    one that cannot be read.
    """
    from ..storage.store import ANSWER_FILE, StoreError, check_out, find_run, is_answer, standing

    check_out(directory)
    found = standing(directory)
    if overwrite or found.result is None:
        return found
    if is_answer(directory):
        earlier = _command_in(directory / ANSWER_FILE, "capacity")
        _check(directory, "a capacity", earlier, command)
        return found
    try:
        result = find_run(directory).result
    except StoreError as error:
        problem = f"holds a run that cannot be read ({error}); {_OR}"
        raise StoreError("out", directory, problem) from error
    if result.status == "complete":
        _check(directory, "a run", str(result.config.get("command") or ""), command)
    return found


def check_claims(directory: Path, command: str, *, overwrite: bool) -> None:
    """The same of `claims.json`. Raises StoreError for `out`, also where a run is kept."""
    _check_reports(directory, "claims", command, overwrite=overwrite, file="claims.json")


def check_capacities(directory: Path, command: str, *, overwrite: bool) -> None:
    """The same of several engines' `capacity.json`. Raises StoreError for `out`, also where a run
    is kept."""
    _check_reports(directory, "capacities", command, overwrite=overwrite, file="capacity.json")


def refuse_overwrite(context: typer.Context, *, goes_on: bool = False) -> None:
    """Refuse it where there is nothing to replace. goes_on: the command keeps what is stored, and
    refuses what is another's. Raises ConfigError."""
    if not is_typed(context, "overwrite"):
        return
    if goes_on:
        raise refused(context, "overwrite", "unset: what is stored is kept, and not run again")
    if not is_typed(context, "out"):
        raise refused(context, "overwrite", "--out beside it")


def _check_reports(directory: Path, what: str, command: str, *, overwrite: bool, file: str) -> None:
    """file: where `what` is kept, with its command."""
    from ..storage.beside_runs import check_reports_directory
    from ..storage.whole_file import check_writable

    check_reports_directory(directory)
    path = directory / file
    check_writable("out", path)
    if not overwrite and path.exists():
        _check(directory, what, _command_in(path, what), command)


def _command_in(path: Path, what: str) -> str:
    """Whose `what` is kept there. Raises StoreError for `out`."""
    from ..storage.json_text import read_json
    from ..storage.store import StoreError

    try:
        return str(read_json(path.read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("out", path, f"holds no {what} that can be read; {_OR}") from error


def _check(directory: Path, what: str, earlier: str, command: str) -> None:
    from ..storage.store import StoreError

    if _asked(earlier) != _asked(command):
        whose = f"of {earlier!r}" if earlier else "of another command"
        raise StoreError("out", directory, f"holds {what} {whose}; {_OR}")
    there = f"{foreign(directory)} holds {what} of this very command"
    say(f"[dim]{there}: replaced by one that is whole[/]")


def _asked(command: str) -> list[str]:
    """The words that say what was asked for, and not where it went."""
    try:
        return list(without_output(shlex.split(command)))
    except ValueError:  # an open quote: written down by a version that did not quote
        return list(without_output(command.split()))


def without_output(words: Sequence[str]) -> Iterator[str]:
    """The words of a command without those about its output."""
    rest = iter(words)
    for word in rest:
        if word in _PLACES:
            next(rest, None)
        elif word not in _FLAGS and word.partition("=")[0] not in _PLACES:
            yield word
