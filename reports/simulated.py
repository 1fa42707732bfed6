"""What the first screen says of numbers that no machine gave."""

from __future__ import annotations

from collections.abc import Iterable


def premise_of(errors: Iterable[tuple[str, str]]) -> str:
    """What was not measured, and how wrong that may be; empty if all was.

    errors: of each part of a report its name, and how wrong its simulation may be, empty where it
    was measured.
    """
    names: dict[str, list[str]] = {}
    for name, error in errors:
        if error:
            names.setdefault(error, []).append(name)
    return " ".join(
        f"Simulated, not measured: {'; '.join(those)}. How wrong it may be: {error}."
        for error, those in names.items()
    )
