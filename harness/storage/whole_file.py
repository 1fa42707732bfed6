"""Files that are there whole or not at all: written beside their place, and then moved there."""

from __future__ import annotations

import errno
import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from ..errors import StoreError
from .drafts import draft, remove_abandoned


def write_whole(path: Path, text: str) -> None:
    """Replace a file, in UTF-8; what was there stays until all of it is written. Raises OSError."""
    with whole_file(path) as fresh, text_file(fresh, path.name) as file:
        file.write(text)


def check_utf8(path: Path) -> None:
    """Find out before a run whether its tables can go there: Parquet's library takes no other path.
    Raises StoreError for `out`."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StoreError("out", path, "is not UTF-8; expected a path that is") from None


@contextmanager
def text_file(path: Path, name: str) -> Iterator[TextIO]:
    """To be written to in UTF-8, compressed if the name that the file will have ends in .gz. A byte
    of another file's name that is none is written as JSON and Python spell what they have for it:
    `\\udce9`."""
    with path.open("wb") as raw:
        # The name, and no time, go into the file: the same text gives the same bytes.
        file = gzip.GzipFile(name, "wb", fileobj=raw, mtime=0) if name.endswith(".gz") else raw
        with TextIOWrapper(file, encoding="utf-8", errors="backslashreplace") as text:
            yield text


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` at the end of the block; after an error, Ctrl-C included,
    it is removed, and what a writer that was killed left is removed by the next. A link is
    followed. What is no file, such as /dev/stdout, is written to itself. Raises OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    with draft(path, is_directory=False) as fresh:
        yield fresh
        fresh.replace(path)
    remove_abandoned(path)


@contextmanager
def writing(field: str, path: Path) -> Iterator[None]:
    """Says in one line why `path` cannot be written, where the block finds out. Raises StoreError
    for `field`."""
    try:
        yield
    except OSError as error:
        raise StoreError(field, path, f"cannot be written: {_why(path, error)}") from error


def _why(path: Path, error: OSError) -> str:
    """A directory that cannot be made is no "File exists" of the file that was to lie in it."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        for parent in path.parents:
            if parent.is_file():
                return f"{str(parent)!r} is a file, and no directory"
    return error.strerror or str(error)


def check_writable(field: str, path: Path) -> None:
    """Find out before minutes of work whether a file can be written at the end of them; leaves
    nothing behind. Missing directories above it will be made. Raises StoreError for `field`."""
    place = path.resolve()
    with writing(field, path):
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not place.exists() or place.is_file():
            Path(tempfile.mkdtemp(prefix=".llmbench.", dir=nearest_existing(place.parent))).rmdir()


def nearest_existing(path: Path) -> Path:
    """The path, or the first above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
