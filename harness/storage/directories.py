"""What stands where a directory is to go, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError


def check_directory(out: Path) -> None:
    """Raises StoreError for `out`: it is there, and no directory."""
    if out.exists() and not out.is_dir():
        raise StoreError("out", out, "is a file; expected a directory")


def check_only(out: Path, is_ours: Callable[[Path], bool], expected: str) -> None:
    """Allowed: a path that does not exist yet, an empty directory, one whose entries are all ours
    or hidden. Raises StoreError for `out`, with what is expected."""
    check_directory(out)
    if not out.exists():
        return
    others = [one for one in out.iterdir() if not (one.name.startswith(".") or is_ours(one))]
    if others:
        first = min(others).name
        raise StoreError("out", out, f"holds other files ({first}); expected {expected}")
