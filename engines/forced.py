"""What forcing an operation does to a decode step that one kernel could compute."""

from __future__ import annotations

from collections.abc import Iterable

DECODER_STEP = "decoder_step"
_AFTER_A_STEP = {"argmax", "sample"}


def forced_within(forced: Iterable[str]) -> tuple[str, ...]:
    """Those of the forced operations that keep a decode step from being one kernel, which computes
    every operation itself and so cannot obey who forces one of them. None where the whole step is
    forced, too."""
    found = set(forced)
    return () if DECODER_STEP in found else tuple(sorted(found - _AFTER_A_STEP))
