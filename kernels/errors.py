"""What a kernel, or the choice of one, refuses."""

from __future__ import annotations


class KernelError(ValueError):
    """An operation, an implementation or a shape that cannot be computed; one line says why."""
