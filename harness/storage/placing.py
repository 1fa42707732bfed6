"""How a draft that is whole becomes what it is a draft of, or comes to lie beside it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from .drafts import draft_name, held


def put_in_place(fresh: Path, directory: Path, *, replaces: bool) -> None:
    """Rename. What it replaces is moved aside first: a rename takes no full directory. Raises
    OSError, with that back in its place."""
    if not replaces:
        fresh.replace(directory)
        return
    aside = draft_name(directory)
    with held(directory):
        directory.replace(aside)
        try:
            fresh.replace(directory)
        except BaseException:
            aside.replace(directory)
            raise
        shutil.rmtree(aside)


def put_beside(fresh: Path, directory: Path) -> Path:
    """Under the first name that is free, with a number at its end. Raises OSError."""
    return fresh.replace(next(place for place in numbered_places(directory) if not place.exists()))


def numbered_places(directory: Path) -> Iterator[Path]:
    """`NAME-2`, `NAME-3`, … without end."""
    return (directory.with_name(f"{directory.name}-{number}") for number in itertools.count(2))
