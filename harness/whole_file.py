"""Files that are there whole or not at all: written beside their place, and then moved there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file, in UTF-8; what was there stays until all of it is written. Raises OSError."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` at the end of the block; after an error, Ctrl-C included,
    it is removed. A link is followed. What is no file, such as /dev/stdout, is written to itself.
    Raises OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        yield path
        return
    # The same ending: some writers go by it.
    draft = path.with_name(f".{path.stem[:200]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
