"""How long a trial may take before its side is taken to hang."""

from __future__ import annotations

from dataclasses import dataclass, field

# Of the longest trial so far, by request. A machine that is busy for a while is no hang.
FACTOR = 20.0
FLOOR_S = 60.0


@dataclass
class TrialLimit:
    """given_s: asked for; None: `FACTOR` times what trials took so far, at least `FLOOR_S`.
    first_s: of a trial before which none has ended; at least `FLOOR_S`, too."""

    given_s: float | None
    first_s: float
    _longest_s: float | None = field(default=None, init=False)

    def of(self, num_requests: int) -> float:
        """Seconds that a trial of so many requests may take."""
        if self.given_s is not None:
            return self.given_s
        if self._longest_s is None:
            return max(FLOOR_S, self.first_s)
        return max(FLOOR_S, FACTOR * self._longest_s * num_requests)

    def note(self, num_requests: int, took_s: float) -> None:
        """A trial of so many requests ended after so long."""
        self._longest_s = max(self._longest_s or 0.0, took_s / num_requests)
