"""Who is told how a run goes."""

from __future__ import annotations

from typing import Protocol

from .drive import Progress


class Watch(Protocol):
    """Whoever waits for a run."""

    def stage(self, text: str) -> None:
        """A new part of the work begins."""
        ...

    def progress(self, progress: Progress) -> None: ...


class Silent:
    """A watch that tells nobody."""

    def stage(self, text: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...
