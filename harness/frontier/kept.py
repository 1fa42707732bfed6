"""Files that keep what was measured while a frontier is made, so that the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..storage.json_text import read_json
from ..storage.store import StoreError
from ..storage.whole_file import write_whole, writing

Kept = TypeVar("Kept")


def read(
    path: Path, version: int, parse: Callable[[Mapping[str, Any]], Kept], *, again: str
) -> Kept | None:
    """What `write` wrote there, parsed; None where there is no file. again: what is done again
    without it, as a verb. Raises StoreError for a file that is not whole or of another version."""
    try:
        data = read_json(path.read_text(encoding="utf-8"))
        if data["schema_version"] != version:
            raise ValueError(f"schema_version {data['schema_version']!r}")
        return parse(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read ({' '.join(str(error).split())}); remove it to {again} again"
        raise StoreError("out", path, problem) from error


def write(path: Path, version: int, data: Mapping[str, Any]) -> None:
    """Whole or not at all. Raises StoreError."""
    with writing("out", path):
        text = json.dumps({"schema_version": version, **data}, indent=1, allow_nan=False)
        write_whole(path, text)
