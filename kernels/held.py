"""How many bytes a map that was prepared with weights reads at each application."""

from __future__ import annotations

from typing import Protocol


class Held(Protocol):
    """A tensor, or a weight made of several."""

    @property
    def nbytes(self) -> int:
        """In memory."""
        ...


def held_bytes(*parts: Held | None) -> int:
    """Of all parts together; None: a map may have no bias."""
    return sum(part.nbytes for part in parts if part is not None)
