"""What names code, beside the results of it that are kept."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path


@cache
def sources_digest(folder: Path) -> str:
    """Sixteen hex digits that change with a folder's Python files, their names and their text."""
    digest = sha256()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]
