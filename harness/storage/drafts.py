"""Drafts: what is written beside its place under a hidden name, and moved there once it is whole.

A writer holds a lock on its draft (flock(2)), which goes with the process, however that ends. So
what has a draft's name and no lock was left by a writer that was killed, and the next one to the
same place removes it. Where a file system has no such locks, nothing is removed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def draft(place: Path, *, is_directory: bool) -> Iterator[Path]:
    """A new file or directory, empty, to become `place`; if it still has its own name at the end of
    the block, as after an error or Ctrl-C, it is removed. A directory's parents are made. Raises
    OSError."""
    path, descriptor = _new(place, is_directory)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """What is moved aside in the block is not taken for abandoned. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def turn_in(directory: Path) -> Iterator[None]:
    """One writer at a time is in the block for that directory; others wait. Where it cannot be
    read, or the file system has no locks, nobody does."""
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def draft_name(place: Path) -> Path:
    """A new one. It has the same ending: some writers go by it."""
    return place.with_name(f".{place.stem[:200]}.{secrets.token_hex(4)}{place.suffix}")


def is_draft(name: str, place: Path) -> bool:
    """Whether a file of this name beside `place` is a draft of it."""
    before, after = re.escape(f".{place.stem[:200]}."), re.escape(place.suffix)
    return re.fullmatch(f"{before}[0-9a-f]{{8}}{after}", name) is not None


def remove_abandoned(place: Path) -> None:
    """Remove the drafts of `place` that no process holds; one that cannot be removed stays."""
    for name in _names_in(place.parent):
        if is_draft(name, place):
            # Gone meanwhile, or another user's.
            with suppress(OSError):
                _remove_if_abandoned(place.with_name(name))


def _names_in(directory: Path) -> list[str]:
    """None of a directory that may be written to and not be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _remove_if_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if _lock(descriptor):
            _remove(path)
    finally:
        os.close(descriptor)


def _new(place: Path, is_directory: bool) -> tuple[Path, int]:
    """A draft and the descriptor that holds its lock. Who removes what is abandoned may come
    between the making and the locking: then another is made."""
    while True:
        path = draft_name(place)
        if is_directory:
            path.mkdir(parents=True)
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if _lock(descriptor, or_none=True) and path.exists():
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int, *, or_none: bool = False) -> bool:
    """Whether the lock is ours now. or_none: also where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return or_none
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
