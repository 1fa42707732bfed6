"""One command at a time stores runs in a directory of many: repeats, an ablation's cells, methods.

What such a command says is of all the runs that lie there, those it found and those it made. Two at
once would each replace the other's, and report what is no longer stored. (Whoever works on a sweep
shares its cells, which are locked one by one: see `sweep/cells.py`.)
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StoreError
from .directories import check_directory
from .drafts import turn_in
from .whole_file import check_utf8, writing

_NAME = ".writer"


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """No other is in the block for that directory, which is made, and removed if it stays empty.

    A hidden file in it is locked (flock(2)) till the end, so that a writer that was killed is in
    nobody's way, and keeps single runs from taking the place. Raises StoreError for `out`: another
    is in the block, or nothing can be written there.
    """
    out = out.resolve()
    check_utf8(out)
    check_directory(out)
    made = [path for path in (out, *out.parents) if not path.exists()]
    try:
        with writing("out", out):
            descriptor = _begin(out)
        try:
            yield
        finally:
            _end(out, descriptor)
    finally:
        _remove_empty(made)


def _begin(out: Path) -> int:
    """Who puts a run in this place has its turn in the directory above, too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with turn_in(out.parent):
        out.mkdir(exist_ok=True)
        descriptor = os.open(out / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(
                "out",
                out,
                "is being written by another command; expected another directory, or this command "
                "once that one has ended",
            ) from None
        except OSError:
            # A file system without locks: what was measured is kept all the same (`write_run`).
            pass
        return descriptor


def _end(out: Path, descriptor: int) -> None:
    with turn_in(out.parent):
        (out / _NAME).unlink(missing_ok=True)
        os.close(descriptor)


def _remove_empty(made: list[Path]) -> None:
    """made: from the innermost outwards."""
    with suppress(OSError):
        for path in made:
            path.rmdir()
