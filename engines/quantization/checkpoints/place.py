"""A directory that is written beside its place and takes it whole, by one command at a time.

Beside OUT lie, while it is written, `.OUT.new`, what was there before as `.OUT.old`, and a lock;
and the lock of a command that works on it for longer, of which writing is the end. Their names are
fixed, so that the next command finds what one that was killed has left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def place_for(out: Path) -> Iterator[None]:
    """Alone at `out`, which lies there whole if it ever did: another command that writes there is
    waited for, and what one that was killed has left is put right. Raises OSError."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(_beside(out, "lock")):
        _put_right(out)
        yield


@contextmanager
def alone(out: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Around all the work on a model that goes to `out`, of which `place_for` is the end: another
    command that works on one is waited for. waiting: called once, before. Raises OSError."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(_beside(out, "layers.lock"), waiting):
        yield


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Within `place_for`: an empty directory, which is at `out` when the block has ended well.
    When it has not, `out` is as it was."""
    fresh = _beside(out, "new")
    try:
        fresh.mkdir()
        yield fresh
        _replace(out, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def put_right(out: Path) -> None:
    """What a command that was killed while it wrote `out` has left. Raises OSError."""
    if _beside(out, "new").exists() or _beside(out, "old").exists():
        with place_for(out):
            pass


def _put_right(out: Path) -> None:
    old = _beside(out, "old")
    if old.exists() and not out.exists():
        os.replace(old, out)
    for left in (old, _beside(out, "new")):
        shutil.rmtree(left, ignore_errors=True)


def _replace(out: Path, fresh: Path) -> None:
    """Put `fresh` at `out`; what was there is gone only when it has succeeded."""
    if not out.exists():
        os.replace(fresh, out)
        return
    old = _beside(out, "old")
    os.replace(out, old)
    try:
        os.replace(fresh, out)
    except BaseException:
        os.replace(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """The kernel's lock of a file, which goes with its process, however that ends; and the file
    with the lock."""
    while True:
        with path.open("a") as file:
            if waiting is not None and not _locked_at_once(file):
                waiting()
                waiting = None
            fcntl.flock(file, fcntl.LOCK_EX)  # of a lock that is held already: nothing
            if not _is_at(path, file):  # whoever had it before has removed it
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _locked_at_once(file: IO[str]) -> bool:
    """Whether nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{what}")
