"""Which code a kernel of one's own had: a file that is edited between two runs keeps its name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from .choices import COMPILED
from .registry import implementations


def own_sources(forced: Mapping[str, str]) -> dict[str, str]:
    """operation -> twelve hex digits of the file that its forced implementation is in, and of what
    lies beside it to be compiled; of those that are not of this package. forced: operation ->
    implementation."""
    found: dict[str, str] = {}
    for op, name in forced.items():
        one = next((one for one in implementations(op) if one.name == name), None)
        if one is None or one.ships:
            continue
        function = one.function.func if isinstance(one.function, partial) else one.function
        file = getattr(sys.modules.get(function.__module__), "__file__", None)
        if file is not None:
            found[op] = _digest(Path(file))
    return found


def _digest(file: Path) -> str:
    digest = sha256(file.read_bytes())
    for path in sorted(file.parent.iterdir()):
        if path.suffix in COMPILED and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
