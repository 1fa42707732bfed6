"""What a kernel, or the choice of one, refuses."""

from __future__ import annotations


class KernelError(ValueError):
    """An operation, an implementation or a shape that cannot be computed; one line says why."""


def cause(error: BaseException) -> str:
    """What another's code raised, in a line: `SystemExit: 0`."""
    return " ".join(f"{type(error).__name__}: {error}".split())
