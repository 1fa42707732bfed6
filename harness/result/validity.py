"""Whether a run can be believed, check by check."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from ...reports.model import DISTURBANCES
from .base import ResultPart

# Checks that a comparison of paces asks for.
HELD_BACK = "held_back"
LATE_SPANS = "late_spans"
LATE_GAPS = "late_gaps"


class Check(ResultPart):
    """One question about whether the run can be believed."""

    id: str
    ok: bool
    fatal: bool = Field(description="A fatal check that fails makes the run invalid.")
    value: float | None = None
    limit: float | None = None
    detail: str
    advice: str = Field(
        default="", description="What follows from a failure; empty where it is plain."
    )

    @property
    def told(self) -> str:
        """What was found, and what follows from it."""
        return f"{self.detail}: {self.advice}" if self.advice else self.detail


class Validity(ResultPart):
    """Whether the run may enter a comparison or a gate."""

    valid: bool
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Validity:
        checks = tuple(checks)
        return cls(valid=all(check.ok or not check.fatal for check in checks), checks=checks)

    def find(self, check_id: str) -> Check | None:
        return next((check for check in self.checks if check.id == check_id), None)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)

    @property
    def disturbances(self) -> tuple[Check, ...]:
        """Others used the machine, or it was held back: a speed is then not its own."""
        return tuple(check for check in self.failures if check.id in DISTURBANCES)

    @property
    def disturbed(self) -> bool:
        return bool(self.disturbances)
